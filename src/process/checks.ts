import type { Clock } from '../base/clock.ts'
import type { ProbeConfig, UnitConfig } from './config.ts'
import { type Answer, judge, type ProbePolicy, type Verdict, watchHealth } from './probe.ts'
import { createProbe, type ProbeContext, type ProbeSeams } from './probes/index.ts'

/** What an answer or several make of a check: `degraded` = it fails, but not as often in a row as makes it unhealthy. */
export type HealthState = 'unknown' | 'healthy' | 'degraded' | 'unhealthy'

/** One check of an unmanaged unit at this moment. */
export interface CheckHealth {
  readonly check: string
  readonly state: HealthState
  /** Bad answers in a row; 0 after a good one. */
  readonly failures: number
  /** Bad answers in a row that make it unhealthy. */
  readonly failAfter: number
  /** Answers since the process was found. */
  readonly good: number
  readonly bad: number
  /** Why the last answer was bad; '' when it was good. */
  readonly message: string
}

/** A check and the readings of `judge` that its state is made of. */
interface Judged extends CheckHealth {
  readonly verdict: Verdict
  readonly dissent: number
}

/** Takes one answer into account. Before the first good one, a check is `unknown` or on its way to `unhealthy`. */
export function checkStep(before: Judged, { passed, reason }: Answer, policy: ProbePolicy): Judged {
  const { verdict, dissent } = judge(before, passed, policy)
  const failures = passed ? 0 : before.failures + 1
  return {
    ...before,
    verdict,
    dissent,
    failures,
    good: before.good + (passed ? 1 : 0),
    bad: before.bad + (passed ? 0 : 1),
    message: reason,
    state: stateOf(before.state, verdict, failures, policy),
  }
}

function stateOf(before: HealthState, verdict: Verdict, failures: number, policy: ProbePolicy): HealthState {
  if (verdict === 'passing') return failures === 0 ? 'healthy' : 'degraded'
  if (failures >= policy.failAfter) return 'unhealthy'
  if (failures > 0 && before !== 'unhealthy') return 'degraded'
  // Good answers, but not yet as many in a row as it takes.
  return before === 'unhealthy' ? 'unhealthy' : before
}

/** The check before its first answer. It begins as failing: only an answer makes a unit ready. */
export function unasked(check: string, failAfter: number): Judged {
  const counts = { failures: 0, failAfter, good: 0, bad: 0, message: '' }
  return { check, state: 'unknown', ...counts, verdict: 'failing', dissent: 0 }
}

/** The worst of several; `healthy` when there are none: a process that is there is all that was asked for. */
export function worstOf(checks: readonly Pick<CheckHealth, 'state'>[]): HealthState {
  const order = ['unhealthy', 'degraded', 'unknown'] as const
  return order.find((state) => checks.some((check) => check.state === state)) ?? 'healthy'
}

/** All checks of a unit by name; the one of `probes.ready` is called `ready`. */
export function checksOf({ probes, checks }: Pick<UnitConfig, 'probes' | 'checks'>): readonly [string, ProbeConfig][] {
  const ready: [string, ProbeConfig][] = probes.ready === undefined ? [] : [['ready', probes.ready]]
  return [...ready, ...Object.entries(checks)].filter(([, { enabled }]) => enabled)
}

/** Told of each answer: what the check was, and what it is now. */
export type OnCheck = (before: CheckHealth, after: CheckHealth, isPassing: boolean) => void

/** Asks one check until aborted. @throws HsuError `CONFIG_INVALID` when it makes no sense with its templates filled in */
export async function watchCheck(
  name: string,
  config: ProbeConfig,
  context: ProbeContext,
  seams: ProbeSeams & { readonly clock: Clock },
  onCheck: OnCheck,
  signal: AbortSignal,
): Promise<void> {
  const { probe, policy } = createProbe(config, context, seams)
  let current = unasked(name, policy.failAfter)
  const onAnswer = (answer: Answer): void => {
    const before = current
    current = checkStep(before, answer, policy)
    onCheck(before, current, current.verdict === 'passing')
  }
  const changes = watchHealth(probe, policy, { clock: seams.clock, onAnswer }, signal)
  // Each answer was told already, so a change of the verdict is no news.
  while ((await changes.next()).done !== true);
}
