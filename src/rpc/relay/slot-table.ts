const FIRST_SLOTS = 64
const MAX_SLOTS = 4_096

/** So many streams that found their slot taken make the table larger. */
const MAX_OVERFLOW = 8

/**
 * The streams of a connection by their id. Ids of one connection follow each other, so that a small ring indexed by id nearly
 * always has the stream; a map holds those whose slot was taken by one that is open for long.
 */
export class SlotTable<T> {
  #ids: Int32Array | undefined
  #values: (T | undefined)[] = []
  #mask = 0
  readonly #overflow = new Map<number, T>()
  size = 0

  get(id: number): T | undefined {
    if (this.#ids === undefined) return undefined
    const slot = (id >>> 1) & this.#mask
    if (this.#ids[slot] === id) return this.#values[slot]
    return this.#overflow.size === 0 ? undefined : this.#overflow.get(id)
  }

  /** `id` is not 0 and not in the table. */
  set(id: number, value: T): void {
    if (this.#ids === undefined) this.#resize(FIRST_SLOTS)
    this.size += 1
    this.#put(id, value)
    if (this.#overflow.size > MAX_OVERFLOW && this.#mask + 1 < MAX_SLOTS) this.#resize((this.#mask + 1) * 2)
  }

  delete(id: number): void {
    if (this.#ids === undefined) return
    const slot = (id >>> 1) & this.#mask
    if (this.#ids[slot] === id) {
      this.#ids[slot] = 0
      this.#values[slot] = undefined
      this.size -= 1
    } else if (this.#overflow.delete(id)) {
      this.size -= 1
    }
  }

  /** A copy, so that it may be changed meanwhile. */
  values(): T[] {
    const found = [...this.#overflow.values()]
    this.#values.forEach((value) => {
      if (value !== undefined) found.push(value)
    })
    return found
  }

  #put(id: number, value: T): void {
    const slot = (id >>> 1) & this.#mask
    if (this.#ids !== undefined && this.#ids[slot] === 0) {
      this.#ids[slot] = id
      this.#values[slot] = value
    } else {
      this.#overflow.set(id, value)
    }
  }

  #resize(slots: number): void {
    const known = new Map(this.#overflow)
    this.#ids?.forEach((id, slot) => {
      const value = this.#values[slot]
      if (id !== 0 && value !== undefined) known.set(id, value)
    })
    this.#ids = new Int32Array(slots)
    this.#values = new Array<T | undefined>(slots).fill(undefined)
    this.#mask = slots - 1
    this.#overflow.clear()
    for (const [id, value] of known) this.#put(id, value)
  }
}
