import type { Clock } from '../../base/clock.ts'

/** Over how long calls pay for retries. */
const WINDOW_MS = 10_000

/** Sums of fractions are a little off. */
const ROUNDING = 1e-6

/** Calls come often and a look at the clock has a price: what is paid in decays every so many. */
const CALLS_PER_LOOK = 32

export interface RetryBudgetTerms {
  /** Retries that each call pays for: 0.2 = one for five calls. */
  readonly ratio: number
  readonly min_per_second: number
}

/**
 * How many retries may be made: a bucket that fills with each call and empties with each retry, as in Finagle's RetryBudget
 * (ratio and a minimum a second). What is in it decays over ten seconds, so that a quiet hour pays for no storm.
 */
export class RetryBudget {
  readonly #clock: Pick<Clock, 'nowMs'>
  #balance = 0
  #spent = 0
  #calls = 0
  #atMs: number

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock
    this.#atMs = clock.nowMs()
  }

  /** A call came. */
  deposit({ ratio }: RetryBudgetTerms): void {
    this.#calls += 1
    if (this.#calls % CALLS_PER_LOOK === 0) this.#decay()
    this.#balance += ratio
  }

  /** Takes one retry out; false when there is none left. */
  withdraw({ min_per_second }: RetryBudgetTerms): boolean {
    this.#decay()
    const allowed = this.#balance + (min_per_second * WINDOW_MS) / 1_000
    if (this.#spent + 1 > allowed + ROUNDING) return false
    this.#spent += 1
    return true
  }

  #decay(): void {
    const nowMs = this.#clock.nowMs()
    const passedMs = nowMs - this.#atMs
    if (passedMs < WINDOW_MS / 100) return
    const share = Math.exp(-passedMs / WINDOW_MS)
    this.#balance *= share
    this.#spent *= share
    this.#atMs = nowMs
  }
}
