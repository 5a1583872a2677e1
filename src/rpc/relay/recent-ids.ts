const SLOTS = 512

/** The streams that were reset lately: what was under way for them then is of no interest, and no fault. */
export class RecentIds {
  #ids: Int32Array | undefined

  add(id: number): void {
    this.#ids ??= new Int32Array(SLOTS)
    this.#ids[(id >>> 1) % SLOTS] = id
  }

  has(id: number): boolean {
    return this.#ids?.[(id >>> 1) % SLOTS] === id
  }
}
