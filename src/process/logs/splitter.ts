/** A line of output as it stands in the raw file. */
export interface RawLine {
  /** Without its line end. */
  readonly bytes: Buffer
  /** Where the next line begins in the raw file. */
  readonly endOffset: number
}

const LF = 0x0a
const CR = 0x0d
/** A carry larger than this is given back to the system once its line is complete. */
const KEEP_BYTES = 64 * 1024

/**
 * Splits a stream of bytes into lines, whatever the bytes are. A line ends with LF or CR LF; one longer than
 * `maxBytes` is cut into pieces of that size. Holds at most one unfinished line.
 */
export class LineSplitter {
  readonly #maxBytes: number
  #offset: number
  #carry = Buffer.alloc(0)
  #carried = 0

  constructor(maxBytes: number, offset: number) {
    this.#maxBytes = maxBytes
    this.#offset = offset
  }

  /** Where in the raw file the next chunk begins. */
  get offset(): number {
    return this.#offset
  }

  push(chunk: Buffer): RawLine[] {
    const lines: RawLine[] = []
    let start = 0
    while (start < chunk.length) {
      const found = chunk.indexOf(LF, start)
      const end = found === -1 ? chunk.length : found
      const room = this.#maxBytes - this.#carried
      if (end - start > room) {
        lines.push(this.#take(chunk.subarray(start, start + room), 0))
        start += room
      } else if (found === -1) {
        this.#keep(chunk.subarray(start))
        start = end
      } else {
        lines.push(withoutCr(this.#take(chunk.subarray(start, end), 1)))
        start = end + 1
      }
    }
    return lines
  }

  /** The last line when it has no end; undefined when there is none. */
  flush(): RawLine | undefined {
    return this.#carried === 0 ? undefined : this.#take(Buffer.alloc(0), 0)
  }

  /** Forgets what is carried and goes on at `offset`. */
  reset(offset: number): void {
    this.#offset = offset
    this.#carried = 0
  }

  #take(rest: Buffer, ending: number): RawLine {
    this.#offset += rest.length + ending
    if (this.#carried === 0) return { bytes: rest, endOffset: this.#offset }
    const bytes = Buffer.concat([this.#carry.subarray(0, this.#carried), rest])
    this.#carried = 0
    if (this.#carry.length > KEEP_BYTES) this.#carry = Buffer.alloc(0)
    return { bytes, endOffset: this.#offset }
  }

  /** Grows by doubling, so that a line that comes byte by byte costs no more than one that comes at once. */
  #keep(rest: Buffer): void {
    const length = this.#carried + rest.length
    if (length > this.#carry.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(length, 2 * this.#carry.length)))
      this.#carry.copy(grown, 0, 0, this.#carried)
      this.#carry = grown
    }
    rest.copy(this.#carry, this.#carried)
    this.#carried = length
    this.#offset += rest.length
  }
}

function withoutCr({ bytes, endOffset }: RawLine): RawLine {
  return { bytes: bytes.at(-1) === CR ? bytes.subarray(0, -1) : bytes, endOffset }
}
