import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'

/** Two places, written in turn, so that damage to one costs one step and not the whole count. */
const PLACES = ['mesh/self.json', 'mesh/self-2.json'] as const

/** The incarnation of this node on the disk: what was written once is never undercut, whatever becomes of one file. */
export class KeptIncarnation {
  readonly #store: Store
  readonly #log: Log
  #next: 0 | 1 = 0
  /** Both are to be written, for one of them is not there. */
  #both = true

  constructor(store: Store, log: Log) {
    this.#store = store
    this.#log = log
  }

  /** The highest incarnation that may have been used; 0 before the first. */
  async load(): Promise<number> {
    const kept = await Promise.all(PLACES.map((place) => this.#read(place)))
    const [first, second] = kept.map(({ incarnation }) => incarnation ?? -1) as [number, number]
    this.#next = first <= second ? 0 : 1
    this.#both = first < 0 || second < 0
    // What is damaged or lost was the newer of two, if things went badly, and by one at most.
    const lost = this.#both && (first !== second || kept.some(({ isDamaged }) => isDamaged))
    return Math.max(first, second, 0) + (lost ? 1 : 0)
  }

  /** Resolves when it would outlive the power. */
  async put(incarnation: number): Promise<void> {
    await writeJson(this.#store, PLACES[this.#next], { incarnation })
    this.#next = this.#next === 0 ? 1 : 0
    if (!this.#both) return
    this.#both = false
    await writeJson(this.#store, PLACES[this.#next], { incarnation })
  }

  async #read(place: string): Promise<{ incarnation: number | undefined; isDamaged: boolean }> {
    const isThere = (await this.#store.get(place)) !== undefined
    const incarnation = await readJson(this.#store, place, (raw) => parseIncarnation(raw, place), this.#log)
    return { incarnation, isDamaged: isThere && incarnation === undefined }
  }
}

function parseIncarnation(raw: unknown, place: string): number {
  const { incarnation } = (raw ?? {}) as { incarnation?: unknown }
  if (typeof incarnation !== 'number' || !Number.isSafeInteger(incarnation) || incarnation < 0) {
    throw new HsuError('STORE_CORRUPT', `${place} has no incarnation`)
  }
  return incarnation
}
