import type { Clock } from '../../base/clock.ts'
import { RetryBudget } from './retry-budget.ts'

/** Units whose budgets and turns are remembered; more than a mesh can have. */
const MAX_UNITS = 10_000

/** What is kept of the calls to one unit. */
interface Kept {
  readonly budget: RetryBudget
  readonly turn: { next: number }
}

/** What is kept of the calls to each unit. */
export class UnitCalls {
  readonly #clock: Clock
  readonly #units = new Map<string, Kept>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(unit: string): Kept {
    const known = this.#units.get(unit)
    if (known !== undefined) return known
    const kept = { budget: new RetryBudget(this.#clock), turn: { next: -1 } }
    if (this.#units.size >= MAX_UNITS) this.#units.clear()
    this.#units.set(unit, kept)
    return kept
  }
}
