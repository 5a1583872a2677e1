import { open, stat } from 'node:fs/promises'
import type { Log } from '../../base/log.ts'
import { ignoreAbsent } from './files.ts'
import { LineSplitter, type RawLine } from './splitter.ts'

/** Bounds the memory that one read takes and the time the event loop is held while it is split. */
const CHUNK_BYTES = 256 * 1024
/** `st_blocks` counts in this unit, whatever the file system (stat(2)). */
const STAT_BLOCK_BYTES = 512

/**
 * Reads one raw output file as it grows. The unit itself appends to it, so the unit runs on when the node dies,
 * and never waits for a reader.
 */
export class Spool {
  readonly #path: string
  readonly #log: Log
  readonly #splitter: LineSplitter
  /** False while what is read may lie in the hole. */
  #pastHole: boolean

  readonly #ended: boolean
  #takenOffset: number

  /** Begins at `offset`. What has `ended` is not written anew: a file shorter than that lost its end with the power. */
  constructor(path: string, offset: number, maxLineBytes: number, log: Log, ended: boolean) {
    this.#ended = ended
    this.#path = path
    this.#log = log
    this.#splitter = new LineSplitter(maxLineBytes, offset)
    this.#pastHole = offset > 0
    this.#takenOffset = offset
  }

  /** The size of the file now; 0 when there is none. */
  async size(): Promise<number> {
    return (await stat(this.#path).catch(ignoreAbsent))?.size ?? 0
  }

  /** What lies before has been given out as lines. */
  get takenOffset(): number {
    return this.#takenOffset
  }

  /** The complete lines in the next chunk; undefined when everything up to `limit` has been read. */
  async read(limit: number): Promise<RawLine[] | undefined> {
    const file = await stat(this.#path).catch(ignoreAbsent)
    if (file === undefined) return undefined
    if (file.size < this.#splitter.offset && !this.#ended) this.#restart(file.size)
    const length = Math.min(CHUNK_BYTES, Math.min(limit, file.size) - this.#splitter.offset)
    if (length <= 0) return undefined
    const chunk = await this.#readAt(this.#splitter.offset, length)
    if (chunk.length === 0) return undefined
    const lines = this.#skipHole(chunk, file.blocks * STAT_BLOCK_BYTES < file.size)
    this.#takenOffset = lines.at(-1)?.endOffset ?? this.#takenOffset
    return lines
  }

  /** The last line when it has no end. */
  flush(): RawLine | undefined {
    const line = this.#splitter.flush()
    this.#takenOffset = line?.endOffset ?? this.#takenOffset
    return line
  }

  async #readAt(offset: number, length: number): Promise<Buffer> {
    const handle = await open(this.#path, 'r')
    try {
      const buffer = Buffer.allocUnsafe(length)
      const { bytesRead } = await handle.read(buffer, 0, length, offset)
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  }

  /** Somebody cut the file. What is there now is new. */
  #restart(size: number): void {
    this.#log.warn('raw output was cut by someone and is read from its start', { path: this.#path, bytes: size })
    this.#splitter.reset(0)
    this.#takenOffset = 0
  }

  /** Without a record of progress (the logs were deleted) reading begins in the hole: its zeros were no output. */
  #skipHole(chunk: Buffer, sparse: boolean): RawLine[] {
    if (this.#pastHole || !sparse) {
      this.#pastHole = true
      return this.#splitter.push(chunk)
    }
    const zeros = chunk.findIndex((byte) => byte !== 0)
    if (zeros === -1) {
      this.#splitter.reset(this.#splitter.offset + chunk.length)
      return []
    }
    this.#pastHole = true
    this.#splitter.reset(this.#splitter.offset + zeros)
    return this.#splitter.push(chunk.subarray(zeros))
  }
}
