import type { Clock } from '../base/clock.ts'
import type { SlotRecord } from './slot-record.ts'
import { INITIAL_STATE, type UnitState } from './unit-state.ts'

/** The two clocks drift against each other by less than this in the time of a crash; a record is not written anew for that. */
const CRASH_STEP_MS = 100

/** The part of a record that is the lifecycle; times become wall clock, which outlives the node. */
export function toRecord(
  state: UnitState,
  clock: Clock,
): Pick<
  SlotRecord,
  'phase' | 'want' | 'generation' | 'restarts' | 'streak' | 'crashesAtWallMs' | 'gaveUp' | 'held' | 'fault' | 'reason'
> & { waitMs?: number; untilWallMs?: number; exit?: NonNullable<SlotRecord['exit']> } {
  const { phase, want, generation, restarts, streak, gaveUp, waitMs, untilMs, held, fault, exit, reason } = state
  const offsetMs = clock.wallMs() - clock.nowMs()
  const crashesAtWallMs = state.crashesAtMs.map((atMs) => CRASH_STEP_MS * Math.round((atMs + offsetMs) / CRASH_STEP_MS))
  const optional = {
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(untilMs === undefined ? {} : { untilWallMs: Math.round(untilMs + offsetMs) }),
    ...(exit === undefined ? {} : { exit }),
  }
  return { phase, want, generation, restarts, streak, crashesAtWallMs, gaveUp, held, fault, reason, ...optional }
}

/** The state an earlier node left; a wall clock that went back makes crashes look recent, never in the future. */
export function fromRecord(record: SlotRecord, clock: Clock): UnitState {
  const { phase, want, generation, restarts, streak, gaveUp, waitMs, held = false, fault, exit, reason } = record
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
    fault,
    exit,
    reason,
  }
  return { ...INITIAL_STATE, ...state }
}
