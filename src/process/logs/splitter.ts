import { isAscii, isUtf8 } from 'node:buffer'
import type { LineText } from './record.ts'

/** Lines of output as they stand together in the raw file. */
export interface RawGroup {
  /** Without their ends. */
  readonly lines: readonly LineText[]
  /** Where what follows them begins in the raw file. */
  readonly endOffset: number
}

const LF = 0x0a
const CR = 0x0d
/** A carry larger than this is given back to the system once its line is complete. */
const KEEP_BYTES = 64 * 1024
/** Lines that are decoded, and later stored, together. */
const GROUP_BYTES = 64 * 1024

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

  push(chunk: Buffer): RawGroup[] {
    const groups: RawGroup[] = []
    for (let start = 0; start < chunk.length; ) {
      const end = this.#carried > 0 ? 0 : groupEnd(chunk, start, Math.min(GROUP_BYTES, this.#maxBytes))
      if (end > start) {
        this.#offset += end - start
        groups.push({ lines: linesOf(chunk.subarray(start, end)), endOffset: this.#offset })
        start = end
      } else {
        const { taken, piece } = this.#pushSome(chunk, start)
        if (piece !== undefined) groups.push({ lines: [piece], endOffset: this.#offset })
        start += taken
      }
    }
    return groups
  }

  /** The last line when it has no end; undefined when there is none. */
  flush(): RawGroup | undefined {
    return this.#carried === 0 ? undefined : { lines: [this.#take(Buffer.alloc(0), 0)], endOffset: this.#offset }
  }

  /** Forgets what is carried and goes on at `offset`. */
  reset(offset: number): void {
    this.#offset = offset
    this.#carried = 0
  }

  /** At most one line: the rest of the one that is carried, or one that is long. */
  #pushSome(chunk: Buffer, start: number): { readonly taken: number; readonly piece: LineText | undefined } {
    const found = chunk.indexOf(LF, start)
    const end = found === -1 ? chunk.length : found
    const room = this.#maxBytes - this.#carried
    if (end - start > room) return { taken: room, piece: this.#take(chunk.subarray(start, start + room), 0) }
    if (found !== -1) return { taken: end + 1 - start, piece: this.#take(chunk.subarray(start, end), 1) }
    this.#keep(chunk.subarray(start))
    return { taken: end - start, piece: undefined }
  }

  #take(rest: Buffer, ending: number): LineText {
    this.#offset += rest.length + ending
    const whole = this.#carried === 0 ? rest : Buffer.concat([this.#carry.subarray(0, this.#carried), rest])
    this.#carried = 0
    if (this.#carry.length > KEEP_BYTES) this.#carry = Buffer.alloc(0)
    return textOf(ending > 0 && whole.at(-1) === CR ? whole.subarray(0, -1) : whole)
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

/** The end of the last complete line that begins at `start` or later and ends within `most` bytes; `start` when there is none. */
function groupEnd(chunk: Buffer, start: number, most: number): number {
  const last = chunk.subarray(start, start + most).lastIndexOf(LF)
  return start + last + 1
}

/** The complete lines of `bytes`; decoded at once, which costs a tenth of doing so line by line. */
function linesOf(bytes: Buffer): readonly LineText[] {
  const ascii = isAscii(bytes)
  if (ascii || isUtf8(bytes)) {
    const text = bytes.toString(ascii ? 'latin1' : 'utf8')
    const lines = text.slice(0, -1).split('\n')
    return text.includes('\r\n') ? lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line)) : lines
  }
  const lines: LineText[] = []
  for (let start = 0, end = bytes.indexOf(LF); end !== -1; start = end + 1, end = bytes.indexOf(LF, start)) {
    lines.push(textOf(bytes.subarray(start, bytes[end - 1] === CR && end > start ? end - 1 : end)))
  }
  return lines
}

function textOf(bytes: Buffer): LineText {
  return isUtf8(bytes) ? bytes.toString('utf8') : Buffer.from(bytes)
}
