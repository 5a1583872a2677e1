import { forgetRuns } from '../jobs/run-record.ts'
import { type LeftoverSeams, clearRecord, clearStray } from '../leftovers.ts'
import { readSlotRecords, type SlotRecord } from '../slot-record.ts'

/** What earlier nodes ran and wrote down, until a slot of this one goes on with it or it is cleared away. */
export class Inheritance {
  readonly #seams: LeftoverSeams
  readonly #runDir: string
  readonly #signal: AbortSignal
  #records = new Map<string, SlotRecord>()

  /** `signal` aborts when nothing more is to be cleared away. */
  constructor(seams: LeftoverSeams, runDir: string, signal: AbortSignal) {
    this.#seams = seams
    this.#runDir = runDir
    this.#signal = signal
  }

  /** Reads what was written down. */
  async read(): Promise<void> {
    const { store, log } = this.#seams
    const records = await readSlotRecords(store, log)
    this.#records = new Map(records.map((record) => [keyOf(record.unit, record.replica), record]))
  }

  /** Ends the instances that no record knows. To be called once, after `read`. */
  async clearStrays(): Promise<void> {
    const { host } = this.#seams
    const known = new Set([...this.#records.values()].map(({ instance }) => instance))
    const strays = (await host.instances(this.#runDir)).filter(({ instance }) => !known.has(instance))
    await Promise.all(strays.map((place) => this.#leave(clearStray(place, this.#seams, this.#signal))))
  }

  /** The record of a slot, which stays for whoever takes it or clears it away. */
  peek(unit: string, replica: number): SlotRecord | undefined {
    return this.#records.get(keyOf(unit, replica))
  }

  /** The record of a slot, which goes on with it from now on. */
  take(unit: string, replica: number): SlotRecord | undefined {
    const record = this.peek(unit, replica)
    this.#records.delete(keyOf(unit, replica))
    return record
  }

  /** Ends what no slot has taken, and forgets the runs of units that are no more. */
  async clear(isUnit: (unit: string) => boolean): Promise<void> {
    await forgetRuns(this.#seams.store, isUnit)
    const records = [...this.#records.values()]
    this.#records.clear()
    const clearing = records.map((record) => clearRecord(record, this.#runDir, this.#seams, this.#signal))
    await Promise.all(clearing.map((each) => this.#leave(each)))
  }

  /** What cannot be cleared away is no reason not to run the rest. */
  async #leave(clearing: Promise<void>): Promise<void> {
    await clearing.catch((error: unknown) =>
      this.#seams.log.error('an instance of an earlier node cannot be cleared away', { error }),
    )
  }
}

function keyOf(unit: string, replica: number): string {
  return `${unit}/${replica}`
}
