import { type Arena, KEPT_BYTES } from './arena.ts'

/** A call with a longer request is not sent again; this is enough for most. */
const MAX_CALL_BYTES = 65_536

/**
 * The requests of calls that have no answer yet, so that one that was refused can be sent elsewhere. A ring that is written over:
 * a call whose bytes are gone is not sent again.
 */
export class KeptBytes {
  readonly #arena: Arena
  #written = 0

  constructor(arena: Arena) {
    this.#arena = arena
  }

  /** Keeps a part; returns its place, for ever different from any other. */
  keep(bytes: Buffer, at: number, length: number): number {
    let start = this.#written % KEPT_BYTES
    if (start + length > KEPT_BYTES) {
      this.#written += KEPT_BYTES - start
      start = 0
    }
    const { bytes: arena, keptAt } = this.#arena
    if (bytes === arena) arena.copyWithin(keptAt + start, at, at + length)
    else bytes.copy(arena, keptAt + start, at, at + length)
    const place = this.#written
    this.#written += length
    return place
  }

  /** A copy of what was kept; undefined when it is gone. */
  get(place: number, length: number): Buffer | undefined {
    if (this.#written - place > KEPT_BYTES) return undefined
    const start = this.#arena.keptAt + (place % KEPT_BYTES)
    return Buffer.from(this.#arena.bytes.subarray(start, start + length))
  }
}

/** What is kept of the request of one call. */
export class KeptRequest {
  /** False when it is too much, or no longer needed. */
  whole = true
  readonly #places: number[] = []
  #count = 0
  #bytes = 0

  add(kept: KeptBytes, bytes: Buffer, at: number, length: number): void {
    this.#bytes += length
    if (this.#bytes > MAX_CALL_BYTES) {
      this.whole = false
      return
    }
    this.#places[this.#count] = kept.keep(bytes, at, length)
    this.#places[this.#count + 1] = length
    this.#count += 2
  }

  /** All parts in order; undefined when they are not all there. */
  parts(kept: KeptBytes): Buffer[] | undefined {
    if (!this.whole) return undefined
    const parts: Buffer[] = []
    for (let at = 0; at < this.#count; at += 2) {
      const part = kept.get(this.#places[at] ?? 0, this.#places[at + 1] ?? 0)
      if (part === undefined) return undefined
      parts.push(part)
    }
    return parts
  }

  reset(): void {
    this.whole = true
    this.#count = 0
    this.#bytes = 0
  }
}
