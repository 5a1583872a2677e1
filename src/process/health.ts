import { aborted, withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { type Answer, type HealthChange, type Verdict, watchHealth } from './probe.ts'
import type { ProbeSeams } from './probes/index.ts'
import { type Question, type QuestionSubject, questionsOf } from './questions.ts'
import type { ProbeFacts } from './unit-state.ts'

/** Bounds of the time between two questions to an instance that is still starting. */
const MIN_STARTING_INTERVAL_MS = 20
const MAX_STARTING_INTERVAL_MS = 100
/** A start is to be noticed late by no more than this part of the time it took, between the bounds. */
const STARTING_SHARE = 0.1

/** What the probes make of an instance; `reason` says why not, and is empty for `ready`. */
export type HealthReport = (type: 'ready' | 'unready' | 'unhealthy', reason: string, facts?: ProbeFacts) => void

export interface HealthSeams extends ProbeSeams {
  readonly clock: Clock
  /** Told of the answers that decide whether it has started: those of the start probe, then of the readiness probe. */
  readonly onAnswer?: (answer: Answer) => void
}

export interface HealthSubject extends QuestionSubject {
  /** False for an instance that was ready before (adopted): its start probe has passed, and it is asked at the usual pace. */
  readonly starting: boolean
}

/**
 * Asks the probes of one instance until aborted, and reports each change.
 * Until the start probe has passed, the others are not asked. Liveness is asked once the instance was ready: until then
 * it may take the time its start has. Without a readiness probe an instance is ready when it has started; an integrated
 * one when it answers gRPC.
 *
 * @throws HsuError `CONFIG_INVALID` when a probe makes no sense with its templates filled in
 */
export async function watchInstanceHealth(
  subject: HealthSubject,
  seams: HealthSeams,
  report: HealthReport,
  signal: AbortSignal,
): Promise<void> {
  const { starting } = subject
  const { start, ready, live } = questionsOf(subject, seams)
  if (starting && start !== undefined && !(await hasStarted(start, seams, report, signal))) return
  let begin = (): void => undefined
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const tell: HealthReport = (type, reason, facts) => {
    if (type === 'ready') begin()
    report(type, reason, facts)
  }
  if (!starting) begin()
  if (ready === undefined) tell('ready', '')
  await Promise.all([
    ready === undefined ? undefined : watchReadiness(ready, starting, seams, tell, signal),
    live === undefined ? undefined : watchLiveness(live, begun, seams.clock, report, signal),
  ])
}

/** Resolves to true when the start probe has passed, to false when it is no longer to be asked. */
async function hasStarted(
  { probe, policy }: Question,
  { clock, onAnswer }: HealthSeams,
  report: HealthReport,
  signal: AbortSignal,
): Promise<boolean> {
  let failures = 0
  const count = (answer: Answer): void => {
    onAnswer?.(answer)
    failures = answer.passed ? 0 : failures + 1
    if (failures !== policy.failAfter) return
    const { reason } = answer
    report('unhealthy', `start probe failed: ${reason}`, { probe: 'start', failures, reasons: [reason] })
  }
  for await (const { verdict } of watchHealth(probe, policy, { clock, onAnswer: count }, signal)) {
    if (verdict === 'passing') return !signal.aborted
  }
  return false
}

async function watchReadiness(
  { probe, policy }: Question,
  starting: boolean,
  { clock, onAnswer }: HealthSeams,
  report: HealthReport,
  signal: AbortSignal,
): Promise<void> {
  const pass = ({ verdict, reason, ...facts }: HealthChange): void =>
    verdict === 'passing'
      ? report('ready', '')
      : report('unready', `not ready: ${reason}`, { probe: 'ready', ...facts })
  if (starting) {
    const paceMs = (elapsedMs: number): number => startingInterval(elapsedMs, policy.intervalMs)
    const seams = { clock, paceMs, ...(onAnswer === undefined ? {} : { onAnswer }) }
    for await (const change of watchHealth(probe, policy, seams, signal)) {
      pass(change)
      break
    }
  }
  const initial: Verdict = starting ? 'passing' : 'failing'
  const usual = { ...policy, delayMs: starting ? policy.intervalMs : 0 }
  for await (const change of watchHealth(probe, usual, { clock, initial }, signal)) pass(change)
}

/** When an instance that has been starting for `elapsedMs` is asked again, in ms; never later than `usualMs`. */
export function startingInterval(elapsedMs: number, usualMs: number): number {
  const share = Math.max(MIN_STARTING_INTERVAL_MS, elapsedMs * STARTING_SHARE)
  return Math.min(usualMs, MAX_STARTING_INTERVAL_MS, share)
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

/** What a failed set-up of probes says, as the reason for ending the instance. */
export function describeProbeFault(thrown: unknown): string {
  return `its probes cannot be used: ${messageOf(thrown)}`
}
