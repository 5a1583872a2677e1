import { withSignal } from '../base/abort.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { messageOf, systemCode } from '../base/error.ts'

/** Asks the unit once; resolves to its answer. A throw counts as a no, and its message is the reason. */
export type Probe = (signal: AbortSignal) => Promise<boolean>
export type Verdict = 'passing' | 'failing'

export interface ProbePolicy {
  /** Time before the first question. */
  readonly delayMs: number
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Answers in a row, against the present verdict, that overturn it. */
  readonly passAfter: number
  readonly failAfter: number
}

export interface Health {
  readonly verdict: Verdict
  /** Consecutive answers against `verdict`. */
  readonly dissent: number
}

/** One answer of the unit. */
export interface Answer {
  readonly passed: boolean
  /** Why not, such as `connection refused`; '' when it passed. */
  readonly reason: string
}

/** A new verdict and the reason of the answer that brought it about; '' when passing. */
export interface HealthChange {
  readonly verdict: Verdict
  readonly reason: string
  /** Failures in a row that led to it; 0 when passing. */
  readonly failures: number
  /** Their reasons, oldest first, each once, at most `MAX_REASONS`. */
  readonly reasons: readonly string[]
}

export interface WatchSeams {
  readonly clock: Clock
  /** The verdict to begin with. `failing` (default) fits readiness, `passing` fits liveness. */
  readonly initial?: Verdict
  /** Time to the next question by how long the unit has been asked, in ms; by default the interval of the policy. */
  readonly paceMs?: (elapsedMs: number) => number
  /** Told of each answer, so that a cause can be given while the verdict stands. */
  readonly onAnswer?: (answer: Answer) => void
}

/** How many different reasons of failures in a row are kept. */
const MAX_REASONS = 3

export function judge(health: Health, passed: boolean, policy: ProbePolicy): Health {
  const agrees = passed === (health.verdict === 'passing')
  if (agrees) return { ...health, dissent: 0 }
  const dissent = health.dissent + 1
  const needed = passed ? policy.passAfter : policy.failAfter
  return dissent < needed ? { ...health, dissent } : { verdict: passed ? 'passing' : 'failing', dissent: 0 }
}

/** Yields each change of verdict until aborted. One probe at a time: a slow unit is never asked twice at once. */
export async function* watchHealth(
  probe: Probe,
  policy: ProbePolicy,
  { clock, initial = 'failing', paceMs = () => policy.intervalMs, onAnswer }: WatchSeams,
  signal: AbortSignal,
): AsyncGenerator<HealthChange> {
  let health: Health = { verdict: initial, dissent: 0 }
  let reasons: readonly string[] = []
  let failures = 0
  const since = clock.nowMs()
  const rest = (ms: number): Promise<void> => clock.sleep(ms, signal).catch(() => undefined)
  const over = (): boolean => signal.aborted
  if (policy.delayMs > 0) await rest(policy.delayMs)
  while (!over()) {
    const answer = await ask(probe, policy.timeoutMs, clock, signal)
    // What aborting did to the probe is no answer of the unit.
    if (over()) return
    onAnswer?.(answer)
    failures = answer.passed ? 0 : failures + 1
    reasons = answer.passed
      ? []
      : [...reasons.filter((one) => one !== answer.reason), answer.reason].slice(-MAX_REASONS)
    const next = judge(health, answer.passed, policy)
    const changed = next.verdict !== health.verdict
    health = next
    if (changed) yield { verdict: next.verdict, reason: answer.reason, failures, reasons }
    await rest(paceMs(clock.nowMs() - since))
  }
}

function ask(probe: Probe, timeoutMs: number, clock: Clock, outer: AbortSignal): Promise<Answer> {
  return withSignal(outer, async (signal) => {
    const answer = await within(clock, timeoutMs, probe(signal))
    if (answer === TIMED_OUT) return { passed: false, reason: `no answer within ${timeoutMs} ms` }
    return { passed: answer, reason: answer ? '' : 'the answer was no' }
  }).catch((error: unknown) => ({ passed: false, reason: describeFailure(error) }))
}

/** The system errors that a person meets, in words. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ENOTFOUND: 'host name not found',
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  ETIMEDOUT: 'connection timed out',
}

function describeFailure(thrown: unknown): string {
  return WORDS[systemCode(thrown) ?? ''] ?? messageOf(thrown)
}
