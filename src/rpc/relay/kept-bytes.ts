/** A call with a longer request is not sent again; this is enough for most. */
const MAX_CALL_BYTES = 65_536

/** For all calls together. The oldest are forgotten first: what is answered soon is not needed for long. */
const RING_BYTES = 4_194_304

/**
 * The requests of calls that have no answer yet, so that one that was refused can be sent elsewhere. A ring that is written over:
 * a call whose bytes are gone is not sent again.
 */
export class KeptBytes {
  #ring: Buffer | undefined
  #written = 0

  /** Keeps a part; returns its place, for ever different from any other. */
  keep(bytes: Buffer, at: number, length: number): number {
    this.#ring ??= Buffer.allocUnsafeSlow(RING_BYTES)
    let start = this.#written % RING_BYTES
    if (start + length > RING_BYTES) {
      this.#written += RING_BYTES - start
      start = 0
    }
    bytes.copy(this.#ring, start, at, at + length)
    const place = this.#written
    this.#written += length
    return place
  }

  /** A copy of what was kept; undefined when it is gone. */
  get(place: number, length: number): Buffer | undefined {
    if (this.#ring === undefined || this.#written - place > RING_BYTES) return undefined
    const start = place % RING_BYTES
    return Buffer.from(this.#ring.subarray(start, start + length))
  }
}

/** What is kept of the request of one call. */
export class KeptRequest {
  /** False when it is too much, or no longer needed. */
  whole = true
  readonly #places: number[] = []
  #bytes = 0

  add(kept: KeptBytes, bytes: Buffer, at: number, length: number): void {
    this.#bytes += length
    if (this.#bytes > MAX_CALL_BYTES) this.whole = false
    else this.#places.push(kept.keep(bytes, at, length), length)
  }

  /** All parts in order; undefined when they are not all there. */
  parts(kept: KeptBytes): Buffer[] | undefined {
    if (!this.whole) return undefined
    const parts: Buffer[] = []
    for (let at = 0; at < this.#places.length; at += 2) {
      const part = kept.get(this.#places[at] ?? 0, this.#places[at + 1] ?? 0)
      if (part === undefined) return undefined
      parts.push(part)
    }
    return parts
  }

  reset(): void {
    this.whole = true
    this.#places.length = 0
    this.#bytes = 0
  }
}
