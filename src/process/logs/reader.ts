import { logFiles, type LogPlace, type LogSource, openLogFile } from './files.ts'
import type { Filter, LogLine } from './query.ts'
import { decodeBlock } from './record.ts'
import type { LogPosition } from './seek.ts'

const CHUNK_BYTES = 256 * 1024
const LF = 0x0a

/**
 * Reads the log of one replica forward, through rotation, while it may still be written. Holds one chunk of lines:
 * a slow reader costs no more than that, and finds what it has not read yet on the disk.
 */
export class LogReader {
  readonly #place: LogPlace
  readonly #filter: Filter
  #position: LogPosition | undefined
  #limit: LogPosition | undefined
  #file: LogSource | undefined
  #chunkBytes = CHUNK_BYTES
  #lines: LogLine[] = []
  #next = 0
  /** True when there may be more to read than was seen; set it when something was appended. */
  pending = true

  /** Begins at `start` (undefined = the oldest line) and, until `unlimit`, ends at `limit` (undefined = nowhere). */
  constructor(place: LogPlace, filter: Filter, start: LogPosition | undefined, limit: LogPosition | undefined) {
    this.#place = place
    this.#filter = filter
    this.#position = start
    this.#limit = limit
  }

  /** The next line, when one has been read. */
  get head(): LogLine | undefined {
    return this.#lines[this.#next]
  }

  shift(): void {
    this.#next += 1
    if (this.#next < this.#lines.length) return
    this.#lines = []
    this.#next = 0
  }

  unlimit(): void {
    this.#limit = undefined
    this.pending = true
  }

  /** Reads one more chunk; `pending` tells whether there may be more. Call it when `head` is undefined. */
  async fill(): Promise<void> {
    // Before the read: what is appended meanwhile sets it again.
    this.pending = false
    const file = await this.#open()
    if (file === undefined) return
    const { number } = file
    const offset = this.#position?.number === number ? this.#position.offset : 0
    const room = this.#roomTo(number, offset)
    const chunk = room > 0 ? await file.read(offset, Math.min(room, this.#chunkBytes)) : Buffer.alloc(0)
    const complete = chunk.lastIndexOf(LF) + 1
    this.#position = { number, offset: offset + complete }
    if (complete > 0) {
      this.#chunkBytes = CHUNK_BYTES
      this.#decode(chunk.subarray(0, complete))
      this.pending = true
    } else if (chunk.length === this.#chunkBytes) {
      this.#chunkBytes *= 2
      this.pending = true
    } else if (room === Infinity) {
      this.pending = (await this.#turnPage(file, offset)) || this.pending
    }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  /** How much may be read of this file; 0 when the limit lies in one before. */
  #roomTo(number: number, offset: number): number {
    if (this.#limit === undefined || number < this.#limit.number) return Infinity
    return number === this.#limit.number ? Math.max(0, this.#limit.offset - offset) : 0
  }

  #decode(chunk: Buffer): void {
    for (let start = 0, end = chunk.indexOf(LF); end !== -1; start = end + 1, end = chunk.indexOf(LF, start)) {
      const block = decodeBlock(chunk.subarray(start, end))
      if (block !== undefined) for (const line of this.#filter(block, this.#place)) this.#lines.push(line)
    }
  }

  /** Goes on to the newer file once this one is rotated and read to its end; true = there is more to read. */
  async #turnPage(file: LogSource, offset: number): Promise<boolean> {
    const { directory, replica } = this.#place
    const newer = (await logFiles(directory, replica)).filter(({ number }) => number > file.number)
    const next = newer.at(-1)
    if (next === undefined) return false
    // Written after our last look and before the rotation.
    const rest = await file.read(offset, CHUNK_BYTES)
    if (rest.includes(LF) || rest.length === CHUNK_BYTES) return true
    await this.close()
    this.#position = { number: next.number, offset: 0 }
    return true
  }

  async #open(): Promise<LogSource | undefined> {
    if (this.#file !== undefined) return this.#file
    const files = await logFiles(this.#place.directory, this.#place.replica)
    const from = this.#position?.number ?? 0
    // What was deleted before we came to it is lost to us; the oldest that is left comes next.
    const file = files.filter(({ number }) => number >= from).at(-1)
    if (file === undefined) return undefined
    this.#file = await openLogFile(file)
    // Deleted just now: look again.
    this.pending ||= this.#file === undefined
    return this.#file
  }
}
