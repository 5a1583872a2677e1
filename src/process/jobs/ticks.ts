import type { Cadence } from './cadence.ts'

/** A moment that is noticed so late was missed: the host slept, or its clock was set forward. */
const LATE_MS = 10_000

/** A clock set back by more than this is a correction, and the schedule begins anew there; cron(8) draws the line at 3 h too. */
const CORRECTION_MS = 3 * 3_600_000

/** Whether a moment that is said to be dealt with can be one, by our clock; else somebody's clock was wrong. */
export function isBelievable(tickMs: number, nowMs: number): boolean {
  return tickMs <= nowMs + CORRECTION_MS
}

/** Missed moments are counted up to here. */
const MAX_COUNTED = 1_000

export interface TickRules {
  readonly cadence: Cadence
  /** Moments up to this one are dealt with. */
  readonly handledMs: number
  /** Since when somebody has been watching the clock. */
  readonly sinceMs: number
  readonly nowMs: number
  readonly missed: 'skip' | 'once'
}

export interface TickPlan {
  /** The run to begin now, for this moment. */
  readonly due: number | undefined
  /** How many moments before it passed with nobody there. */
  readonly missed: number
  /** Moments up to this one are now dealt with. */
  readonly handledMs: number
  /** The moment that comes next; undefined when none ever does. */
  readonly nextMs: number | undefined
}

/**
 * What to do about a schedule at this moment. Each moment is dealt with once, whatever the clock does: set back, it
 * waits until it is past what was dealt with; set forward, what lies between was missed.
 */
export function planTicks({ cadence, handledMs, sinceMs, nowMs, missed }: TickRules): TickPlan {
  const fromMs = isBelievable(handledMs, nowMs) ? handledMs : nowMs
  const lastMs = cadence.last(nowMs)
  if (lastMs === undefined || lastMs <= fromMs) {
    return { due: undefined, missed: 0, handledMs: fromMs, nextMs: cadence.next(Math.max(fromMs, nowMs)) }
  }
  const onTime = lastMs >= sinceMs && nowMs - lastMs <= LATE_MS
  const passed = countBetween(cadence, fromMs, lastMs)
  return {
    due: onTime || missed === 'once' ? lastMs : undefined,
    missed: onTime ? passed - 1 : passed,
    handledMs: lastMs,
    nextMs: cadence.next(nowMs),
  }
}

/** Up to which moment a schedule is dealt with, once `tickMs` is; a moment far in the future was a mistake of the clock. */
export function handledAfter(knownMs: number, tickMs: number, nowMs: number): number {
  return isBelievable(knownMs, nowMs) ? Math.max(knownMs, tickMs) : tickMs
}

/** How many moments lie in (fromMs, lastMs]. */
function countBetween(cadence: Cadence, fromMs: number, lastMs: number): number {
  let count = 1
  for (let at = cadence.next(fromMs); at !== undefined && at < lastMs && count < MAX_COUNTED; at = cadence.next(at)) {
    count += 1
  }
  return count
}
