/** The last of something for each key. Bounded: the key that was longest not noted is forgotten first. */
export class LastSeen<T> {
  readonly #entries = new Map<string, T>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  note(key: string, value: T): void {
    // Deleted first, so that the order of the map is that of the notes.
    this.#entries.delete(key)
    this.#entries.set(key, value)
    const [longest] = this.#entries.keys()
    if (this.#entries.size > this.#max && longest !== undefined) this.#entries.delete(longest)
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)
  }

  get entries(): readonly (readonly [key: string, value: T])[] {
    return [...this.#entries]
  }

  get all(): readonly T[] {
    return [...this.#entries.values()]
  }
}
