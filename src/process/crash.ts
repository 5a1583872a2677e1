import { backoffMs } from '../base/backoff.ts'
import { profileFactor } from './restart-profile.ts'
import { NO_WAIT, type StepRules, type UnitState } from './unit-state.ts'

/** A crash counts towards giving up; after that the unit waits as long as the configuration says, or for ever. */
export function crashed(state: UnitState, reason: string, rules: StepRules): UnitState {
  const { policy, give_up } = rules.restart
  const sinceMs = rules.nowMs - give_up.windowMs
  const most = Math.ceil(give_up.crashes * leniency(state, rules))
  const crashesAtMs = [...state.crashesAtMs.filter((atMs) => atMs > sinceMs), rules.nowMs].slice(-most)
  const next = { ...state, crashesAtMs, streak: state.streak + 1, fault: '', ready: false }
  if (policy === 'no') return { ...next, ...NO_WAIT, phase: 'failed', reason }
  const tooMany = crashesAtMs.length >= most
  if (!tooMany && !state.gaveUp) return retreat(next, reason, rules)
  const failed = { ...next, phase: 'failed', gaveUp: true, reason } as const
  return { ...failed, ...waitOf(rules.restart.then.retryMs, rules) }
}

/** Waits before the next start, longer with each end in a row. */
export function retreat(state: UnitState, reason: string, rules: StepRules): UnitState {
  return { ...state, phase: 'backoff', ready: false, reason, ...waitOf(delayMs(state, rules), rules) }
}

function waitOf(waitMs: number | undefined, { nowMs }: StepRules): Pick<UnitState, 'waitMs' | 'untilMs'> {
  return { waitMs, untilMs: waitMs === undefined ? undefined : nowMs + waitMs }
}

function delayMs(state: UnitState, rules: StepRules): number {
  const { restart, random } = rules
  const waitMs = backoffMs(state.streak, { ...restart.backoff, factor: 2, jitter: restart.jitter }, random)
  return waitMs * leniency(state, rules)
}

/** An exceeded limit may be the nature of the work, which the profile tells. */
function leniency({ overuse }: UnitState, { restart }: StepRules): number {
  return overuse ? profileFactor(restart) : 1
}
