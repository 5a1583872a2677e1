import type { Clock } from '../base/clock.ts'
import type { Instance } from './instance.ts'
import { launchHash, type UnitSpec } from './launch.ts'
import type { SlotRecord } from './slot-record.ts'
import type { InstanceStatus } from './status.ts'
import { INITIAL_STATE, type UnitState } from './unit-state.ts'

/** The two clocks drift against each other by less than this in the time of a crash; a record is not written anew for that. */
const CRASH_STEP_MS = 100

/** The part of a record that is the lifecycle; times become wall clock, which outlives the node. */
export function toRecord(
  state: UnitState,
  clock: Clock,
): Pick<
  SlotRecord,
  | 'phase'
  | 'want'
  | 'generation'
  | 'restarts'
  | 'streak'
  | 'crashesAtWallMs'
  | 'gaveUp'
  | 'held'
  | 'asleep'
  | 'fault'
  | 'reason'
> & { waitMs?: number; untilWallMs?: number; exit?: NonNullable<SlotRecord['exit']> } {
  const { phase, want, generation, restarts, streak, gaveUp, waitMs, untilMs, held, asleep, fault, exit, reason } =
    state
  const offsetMs = clock.wallMs() - clock.nowMs()
  const crashesAtWallMs = state.crashesAtMs.map((atMs) => CRASH_STEP_MS * Math.round((atMs + offsetMs) / CRASH_STEP_MS))
  const optional = {
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(untilMs === undefined ? {} : { untilWallMs: Math.round(untilMs + offsetMs) }),
    ...(exit === undefined ? {} : { exit }),
  }
  return {
    phase,
    want,
    generation,
    restarts,
    streak,
    crashesAtWallMs,
    gaveUp,
    held,
    asleep,
    fault,
    reason,
    ...optional,
  }
}

/** The state an earlier node left; a wall clock that went back makes crashes look recent, never in the future. */
export function fromRecord(record: SlotRecord, clock: Clock): UnitState {
  const { phase, want, generation, restarts, streak, gaveUp, waitMs, fault, exit, reason } = record
  const { held = false, asleep = false } = record
  const offsetMs = clock.nowMs() - clock.wallMs()
  const crashesAtMs = record.crashesAtWallMs.map((atMs) => Math.min(clock.nowMs(), atMs + offsetMs))
  const untilMs = record.untilWallMs === undefined ? undefined : record.untilWallMs + offsetMs
  const state = {
    phase,
    want,
    generation,
    restarts,
    streak,
    gaveUp,
    crashesAtMs,
    waitMs,
    untilMs,
    held,
    asleep,
    fault,
    exit,
    reason,
  }
  return { ...INITIAL_STATE, ...state }
}

/** What is known of a slot: what is wanted of it, how far it has come, what runs there. */
export interface SlotFacts {
  readonly spec: UnitSpec
  readonly replica: number
  readonly state: UnitState
  /** The instance that has processes; undefined when there is none. */
  readonly run: Pick<Instance, 'pid' | 'usage' | 'facts'> | undefined
  /** Name of the last instance; '' before the first. */
  readonly instance: string
  readonly ports: Readonly<Record<string, number>>
  /** Id of the event that explains the present state; '' when there is none. */
  readonly eventId: string
}

/** What is shown of a slot besides its facts. */
export type SlotSurroundings = Pick<InstanceStatus, 'limits' | 'retryAtMs'> & {
  /** What is wrong around it, shown while it runs well itself; '' = nothing. */
  readonly caveat: string
}

/** A slot as people see it. */
export function statusOf(facts: SlotFacts, { limits, retryAtMs, caveat }: SlotSurroundings): InstanceStatus {
  const { spec, replica, run, instance, ports, eventId } = facts
  const { phase, want, ready, restarts, exit, reason, asleep, served, streak } = facts.state
  return {
    unit: spec.name,
    instance,
    replica,
    kind: spec.config.kind,
    state: phase === 'down' && asleep ? 'asleep' : phase,
    ready,
    pid: run?.pid,
    startedAtMs: run?.facts.startedAtMs,
    restarts,
    cpu: run?.usage?.cpu ?? 0,
    rssBytes: run?.usage?.rssBytes ?? 0,
    usage: run?.usage,
    ports,
    exit: run === undefined ? exit : undefined,
    limits,
    reason: reason === '' && ready ? caveat : reason,
    want,
    retryAtMs,
    ...(phase === 'backoff' && served && streak === 1 ? { recovers: true } : {}),
    eventId,
  }
}

/** What is written down of a slot besides its facts. */
export interface SlotMemory {
  readonly bootId: string
  readonly args: readonly string[]
  /** What was wanted of it when the node began to stop; undefined while it does not. */
  readonly closing: UnitState['want'] | undefined
}

/** A slot as the next node is to find it. */
export function recordOf(facts: SlotFacts, { bootId, args, closing }: SlotMemory, clock: Clock): SlotRecord {
  const { spec, replica, state, run, instance, ports, eventId } = facts
  const { kind, stop } = spec.config
  const { leader, main } = run?.facts.child ?? {}
  return {
    format: 1,
    unit: spec.name,
    replica,
    kind: kind === 'integrated' ? 'integrated' : 'managed',
    ...toRecord(state, clock),
    ...(closing === undefined ? {} : { want: closing }),
    closed: closing !== undefined && run === undefined && state.phase === 'down',
    bootId,
    instance,
    ...(leader === undefined ? {} : { leader, main }),
    ports,
    ...(args.length === 0 ? {} : { args: [...args] }),
    ...(run === undefined ? {} : { startedAtMs: run.facts.startedAtMs }),
    eventId,
    launchHash: run?.facts.launchHash ?? launchHash(spec),
    stop: { signal: stop.signal, graceMs: stop.grace },
  }
}
