import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'

export interface LimitTerms {
  readonly concurrency?: number | undefined
  /** Calls a second. */
  readonly rate?: number | undefined
  readonly burst?: number | undefined
}

/** For how long a caller that came while too many calls were under way is asked to wait. */
const BUSY_MS = 100

/** The calls that one node sends to one unit, against its limits: a token bucket for the rate, a count for those under way. */
export class CallLimits {
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #unit: string
  #underWay = 0
  #tokens: number | undefined
  #atMs = 0

  constructor(clock: Pick<Clock, 'nowMs'>, unit: string) {
    this.#clock = clock
    this.#unit = unit
  }

  /** Lets a call in, to be counted out by `left`. @throws HsuError `OVERLOADED` with the time to wait */
  enter(terms: LimitTerms): void {
    const { concurrency, rate } = terms
    if (concurrency !== undefined && this.#underWay >= concurrency) {
      throw this.#refusal(`has ${concurrency} calls under way, as many as its route allows`, 'concurrency', BUSY_MS)
    }
    if (rate !== undefined) this.#spend(rate, terms.burst ?? Math.max(1, Math.ceil(rate)))
    this.#underWay += 1
  }

  left(): void {
    this.#underWay -= 1
  }

  #spend(rate: number, burst: number): void {
    const nowMs = this.#clock.nowMs()
    const tokens = Math.min(burst, (this.#tokens ?? burst) + ((nowMs - this.#atMs) * rate) / 1_000)
    this.#atMs = nowMs
    this.#tokens = tokens
    if (tokens < 1) {
      const waitMs = Math.ceil(((1 - tokens) * 1_000) / rate)
      throw this.#refusal(`gets more than the ${rate} calls a second that its route allows`, 'rate', waitMs)
    }
    this.#tokens = tokens - 1
  }

  #refusal(why: string, limit: string, retryAfterMs: number): HsuError {
    return new HsuError('OVERLOADED', `unit '${this.#unit}' ${why}; try again in ${retryAfterMs} ms`, {
      details: { unit: this.#unit, limit, retryAfterMs },
    })
  }
}

/** A call that may have to be counted out. */
interface Counted {
  limits: CallLimits | undefined
}

/** Lets a call through to a unit, unless it has been let through before. @throws HsuError `OVERLOADED` */
export function admit(call: Counted, limits: CallLimits | undefined, terms: LimitTerms): void {
  if (limits === undefined || call.limits !== undefined) return
  if (terms.concurrency === undefined && terms.rate === undefined) return
  limits.enter(terms)
  call.limits = limits
}

/** The limits of the units of this node, shared by all its doors. */
export function createCallLimits(clock: Pick<Clock, 'nowMs'>): (unit: string) => CallLimits {
  const byUnit = new Map<string, CallLimits>()
  return (unit) => {
    const known = byUnit.get(unit)
    if (known !== undefined) return known
    const limits = new CallLimits(clock, unit)
    byUnit.set(unit, limits)
    return limits
  }
}
