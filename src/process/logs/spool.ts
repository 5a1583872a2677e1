import { type FileHandle, open, stat } from 'node:fs/promises'
import type { Log } from '../../base/log.ts'
import { ignoreAbsent } from './files.ts'
import { LineSplitter, type RawGroup } from './splitter.ts'

/** Bounds the memory that one read takes and the time the event loop is held while it is split. */
const CHUNK_BYTES = 256 * 1024
/** `st_blocks` counts in this unit, whatever the file system (stat(2)). */
const STAT_BLOCK_BYTES = 512

const LF = 0x0a

export interface SpoolOptions {
  /** Where to begin. */
  readonly offset: number
  readonly maxLineBytes: number
  /** So much may wait to be read; of more, the oldest is dropped. */
  readonly backlogBytes: number
  /** What has ended is not written anew: a file shorter than `offset` lost its end with the power. */
  readonly ended: boolean
}

/**
 * Reads one raw output file as it grows. The unit itself appends to it, so the unit runs on when the node dies,
 * and never waits for a reader.
 */
export class Spool {
  readonly #path: string
  readonly #log: Log
  readonly #options: SpoolOptions
  readonly #splitter: LineSplitter
  /** False while what is read may lie in the hole. */
  #pastHole: boolean
  #takenOffset: number
  #droppedBytes = 0
  /** After a drop, what comes before the next line end is a part of a line. */
  #inBrokenLine = false

  constructor(path: string, options: SpoolOptions, log: Log) {
    const { offset, maxLineBytes } = options
    this.#path = path
    this.#log = log
    this.#options = options
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

  /** Takes the account of what was dropped since the last time. */
  takeDroppedBytes(): number {
    const bytes = this.#droppedBytes
    this.#droppedBytes = 0
    return bytes
  }

  /** The complete lines in the next chunk; undefined when everything up to `limit` has been read. */
  async read(limit: number): Promise<RawGroup[] | undefined> {
    // A quiet unit: its file needs no opening to know that.
    if (limit === this.#splitter.offset) return undefined
    const handle = await open(this.#path, 'r').catch(ignoreAbsent)
    if (handle === undefined) return undefined
    try {
      return await this.#readFrom(handle, limit)
    } finally {
      await handle.close()
    }
  }

  /** The last line when it has no end. */
  flush(): RawGroup | undefined {
    const line = this.#splitter.flush()
    this.#takenOffset = line?.endOffset ?? this.#takenOffset
    return line
  }

  async #readFrom(handle: FileHandle, limit: number): Promise<RawGroup[] | undefined> {
    const { size, blocks } = await handle.stat()
    if (size < this.#splitter.offset && !this.#options.ended) this.#restart(size)
    this.#bound(size)
    const { offset } = this.#splitter
    const length = Math.min(CHUNK_BYTES, limit - offset, size - offset)
    if (length <= 0) return undefined
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset)
    if (bytesRead === 0) return undefined
    const groups = this.#split(buffer.subarray(0, bytesRead), blocks * STAT_BLOCK_BYTES < size)
    this.#takenOffset = groups.at(-1)?.endOffset ?? this.#takenOffset
    return groups
  }

  /** Of what waits beyond the bound the oldest is dropped, and as much again, so that it is not a line at a time. */
  #bound(size: number): void {
    const { backlogBytes } = this.#options
    const { offset } = this.#splitter
    if (size - offset <= backlogBytes) return
    const next = size - Math.floor(backlogBytes / 2)
    this.#droppedBytes += next - this.#takenOffset
    this.#splitter.reset(next)
    this.#takenOffset = next
    this.#inBrokenLine = true
    this.#pastHole = true
  }

  #split(chunk: Buffer, sparse: boolean): RawGroup[] {
    if (!this.#inBrokenLine) return this.#skipHole(chunk, sparse)
    const end = chunk.indexOf(LF)
    const rest = end === -1 ? chunk.length : end + 1
    this.#inBrokenLine = end === -1
    this.#droppedBytes += rest
    this.#splitter.reset(this.#splitter.offset + rest)
    this.#takenOffset = this.#splitter.offset
    return this.#splitter.push(chunk.subarray(rest))
  }

  /** Somebody cut the file. What is there now is new. */
  #restart(size: number): void {
    this.#log.warn('raw output was cut by someone and is read from its start', { path: this.#path, bytes: size })
    this.#splitter.reset(0)
    this.#takenOffset = 0
  }

  /** Without a record of progress (the logs were deleted) reading begins in the hole: its zeros were no output. */
  #skipHole(chunk: Buffer, sparse: boolean): RawGroup[] {
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
