import { createInFlight, type InFlight } from '../router/in-flight.ts'

/** Calls that began and ended at an instance since the last report. */
export type CallCounts = readonly (readonly [instance: string, began: number, ended: number])[]

/** Counts calls, and what has changed of the counts since somebody asked. */
export class CountedCalls implements InFlight {
  readonly #calls = createInFlight()
  readonly #changed = new Map<string, [began: number, ended: number]>()
  readonly #onChange: () => void

  /** `onChange` is called at the first change after a report. */
  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  add(instance: string, calls: number): void {
    this.#calls.add(instance, calls)
    let changed = this.#changed.get(instance)
    if (changed === undefined) {
      changed = [0, 0]
      if (this.#changed.size === 0) this.#onChange()
      this.#changed.set(instance, changed)
    }
    if (calls > 0) changed[0] += calls
    else changed[1] -= calls
  }

  of(instance: string): number {
    return this.#calls.of(instance)
  }

  total(instance: string): number {
    return this.#calls.total(instance)
  }

  drained(instance: string, signal: AbortSignal): Promise<void> {
    return this.#calls.drained(instance, signal)
  }

  report(): CallCounts {
    const counts = [...this.#changed].map(([instance, [began, ended]]) => [instance, began, ended] as const)
    this.#changed.clear()
    return counts
  }
}
