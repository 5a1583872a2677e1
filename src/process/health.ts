import { aborted, withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { ProbeConfig, UnitConfig } from './config.ts'
import { ownsListener } from './listeners.ts'
import { type HealthChange, type Probe, type ProbePolicy, type Verdict, watchHealth } from './probe.ts'
import { ladderProbe } from './probes/grpc.ts'
import { createProbe, type ProbeContext, type ProbeSeams } from './probes/index.ts'
import type { ProbeFacts } from './unit-state.ts'

/** How often an instance that is still starting is asked: a start should not cost a whole probe interval. */
const STARTING_INTERVAL_MS = 100

/** For integrated units without a ready probe. As the defaults of the configuration. */
const LADDER_POLICY: ProbePolicy = { delayMs: 0, intervalMs: 5_000, timeoutMs: 1_000, passAfter: 1, failAfter: 3 }

/** What the probes make of an instance; `reason` says why not, and is empty for `ready`. */
export type HealthReport = (type: 'ready' | 'unready' | 'unhealthy', reason: string, facts?: ProbeFacts) => void

export interface HealthSeams extends ProbeSeams {
  readonly clock: Clock
}

export interface HealthSubject extends ProbeContext {
  readonly kind: UnitConfig['kind']
  readonly probes: UnitConfig['probes']
  /** The gRPC port of an integrated unit, which must belong to its own processes. */
  readonly grpcPort: number | undefined
  /** The ports assigned to it, which must belong to its own processes; absent = nobody assigned it any. */
  readonly ownPorts?: readonly number[]
  /** The root of its processes. */
  readonly rootPid: number
  /** False for an instance that was ready before (adopted), which is only asked at the usual pace. */
  readonly starting: boolean
}

type Question = { readonly probe: Probe; readonly policy: ProbePolicy }

/**
 * Asks the readiness and the liveness probe of one instance until aborted, and reports each change.
 * Liveness is asked once the instance was ready: until then it may take the time its start has.
 * Without a readiness probe an instance is ready when its process is there; an integrated one when it answers gRPC.
 *
 * @throws HsuError `CONFIG_INVALID` when a probe makes no sense with its templates filled in
 */
export async function watchInstanceHealth(
  subject: HealthSubject,
  seams: HealthSeams,
  report: HealthReport,
  signal: AbortSignal,
): Promise<void> {
  const ready = readiness(subject, seams)
  const live = liveness(subject, seams)
  let begin = (): void => undefined
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const tell: HealthReport = (type, reason, facts) => {
    if (type === 'ready') begin()
    report(type, reason, facts)
  }
  if (!subject.starting) begin()
  if (ready === undefined) tell('ready', '')
  await Promise.all([
    ready === undefined ? undefined : watchReadiness(ready, subject.starting, seams.clock, tell, signal),
    live === undefined ? undefined : watchLiveness(live, begun, seams.clock, report, signal),
  ])
}

async function watchReadiness(
  { probe, policy }: Question,
  starting: boolean,
  clock: Clock,
  report: HealthReport,
  signal: AbortSignal,
): Promise<void> {
  const pass = ({ verdict, reason, ...facts }: HealthChange): void =>
    verdict === 'passing'
      ? report('ready', '')
      : report('unready', `not ready: ${reason}`, { probe: 'ready', ...facts })
  if (starting) {
    const quick = { ...policy, intervalMs: Math.min(policy.intervalMs, STARTING_INTERVAL_MS) }
    for await (const change of watchHealth(probe, quick, { clock }, signal)) {
      pass(change)
      break
    }
  }
  const initial: Verdict = starting ? 'passing' : 'failing'
  const usual = { ...policy, delayMs: starting ? policy.intervalMs : 0 }
  for await (const change of watchHealth(probe, usual, { clock, initial }, signal)) pass(change)
}

async function watchLiveness(
  { probe, policy }: Question,
  begun: Promise<void>,
  clock: Clock,
  report: HealthReport,
  signal: AbortSignal,
): Promise<void> {
  await withSignal(signal, (inner) => Promise.race([begun, aborted(inner)]))
  for await (const { verdict, reason, ...facts } of watchHealth(probe, policy, { clock, initial: 'passing' }, signal)) {
    if (verdict === 'failing') report('unhealthy', `liveness probe failed: ${reason}`, { probe: 'live', ...facts })
  }
}

function readiness(subject: HealthSubject, seams: HealthSeams): Question | undefined {
  const { ready } = subject.probes
  if (ready?.enabled === true) {
    const { probe, policy } = createProbe(ready, subject, seams)
    return { probe: ownedBy(subject.rootPid, ownPortAsked(ready, subject), probe, seams), policy }
  }
  if (ready !== undefined || subject.kind !== 'integrated' || subject.grpcAddress === undefined) return undefined
  const { rootPid, grpcPort, grpcAddress } = subject
  const ladder = ladderProbe(seams.grpc, grpcAddress)
  return { probe: ownedBy(rootPid, grpcPort, ladder, seams), policy: LADDER_POLICY }
}

function liveness(subject: HealthSubject, seams: HealthSeams): Question | undefined {
  const { live } = subject.probes
  return live?.enabled === true ? createProbe(live, subject, seams) : undefined
}

/** The port of the unit's own that a probe asks; undefined when it asks none. */
function ownPortAsked({ grpc, tcp }: ProbeConfig, subject: HealthSubject): number | undefined {
  const address = tcp === undefined ? '' : subject.expand(tcp)
  const local = /^(?:(?:127\.0\.0\.1|localhost|\[::1\]):)?(\d+)$/.exec(address)
  const asked = grpc === undefined ? Number(local?.[1]) : subject.grpcPort
  return subject.ownPorts?.find((port) => port === asked)
}

/** Another process may answer on the port (SO_REUSEPORT, or one that was there first); then the answer proves nothing. */
function ownedBy(rootPid: number, port: number | undefined, probe: Probe, { table }: HealthSeams): Probe {
  let proved = port === undefined
  return async (signal) => {
    if (!(await probe(signal))) return false
    if (proved || port === undefined) return true
    const owned = await ownsListener(table, rootPid, port)
    if (owned === false) throw new Error(`port ${port} is answered by a process that is not of this unit`)
    proved = true
    return true
  }
}

/** What a failed set-up of probes says, as the reason for ending the instance. */
export function describeProbeFault(thrown: unknown): string {
  return `its probes cannot be used: ${messageOf(thrown)}`
}
