import type { FileHandle } from 'node:fs/promises'
import { currentPath, inodeOf, type LogFile, logFiles, openLogFile } from './files.ts'
import type { Filter, LogLine } from './query.ts'
import { decodeLine } from './record.ts'
import { type LogPlace, type LogPosition, neighbour } from './seek.ts'

const CHUNK_BYTES = 256 * 1024
const LF = 0x0a

interface OpenFile {
  readonly handle: FileHandle
  readonly inode: number
}

/**
 * Reads the log of one replica forward, through rotation, while it may still be written. Holds one chunk of lines:
 * a slow reader costs no more than that, and finds what it has not read yet on the disk.
 */
export class LogReader {
  readonly #place: LogPlace
  readonly #filter: Filter
  #position: LogPosition | undefined
  #limit: LogPosition | undefined
  #file: OpenFile | undefined
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
    const { inode } = file
    const offset = this.#position?.inode === inode ? this.#position.offset : 0
    const atLimit = this.#limit?.inode === inode
    const most = atLimit ? Math.max(0, (this.#limit?.offset ?? 0) - offset) : this.#chunkBytes
    const chunk = await readChunk(file.handle, offset, Math.min(most, this.#chunkBytes))
    const complete = chunk.lastIndexOf(LF) + 1
    this.#position = { inode, offset: offset + complete }
    if (complete > 0) {
      this.#chunkBytes = CHUNK_BYTES
      this.#decode(chunk.subarray(0, complete))
      this.pending = true
    } else if (chunk.length === this.#chunkBytes) {
      this.#chunkBytes *= 2
      this.pending = true
    } else if (!atLimit) {
      this.pending = (await this.#turnPage(file, offset + chunk.length)) || this.pending
    }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.handle.close()
  }

  #decode(chunk: Buffer): void {
    const { unit, replica } = this.#place
    for (let start = 0, end = chunk.indexOf(LF); end !== -1; start = end + 1, end = chunk.indexOf(LF, start)) {
      const record = decodeLine(chunk.subarray(start, end))
      if (record === undefined || !this.#filter(record)) continue
      const { wallMs, instance, stream, seq, line } = record
      this.#lines.push({ wallMs, unit, instance, replica, stream, seq, line })
    }
  }

  /** Goes on to the newer file once this one is rotated away and read to its end; true = there is more to read. */
  async #turnPage({ handle, inode }: OpenFile, seenBytes: number): Promise<boolean> {
    const { directory, replica } = this.#place
    const current = await inodeOf(currentPath(directory, replica))
    if (current === undefined || current === inode) return false
    const { size, nlink } = await handle.stat()
    // Written after our last look and before the rotation.
    if (size > seenBytes) return true
    // What was deleted before we came to it is lost to us; the oldest that is left comes next.
    const next = nlink === 0 ? await oldest(this.#place) : await neighbour(directory, replica, inode, 'newer')
    // Files are being renamed just now: look again.
    if (next === undefined) return true
    await this.close()
    this.#position = { inode: next.inode, offset: 0 }
    return true
  }

  async #open(): Promise<OpenFile | undefined> {
    if (this.#file !== undefined) return this.#file
    const files = await logFiles(this.#place.directory, this.#place.replica)
    const file = files.find(({ inode }) => inode === this.#position?.inode) ?? files.at(-1)
    const handle = file === undefined ? undefined : await openLogFile(file)
    if (file === undefined || handle === undefined) {
      // Renamed just now: look again.
      this.pending ||= file !== undefined
      return undefined
    }
    this.#file = { handle, inode: file.inode }
    return this.#file
  }
}

async function oldest({ directory, replica }: LogPlace): Promise<LogFile | undefined> {
  return (await logFiles(directory, replica)).at(-1)
}

async function readChunk(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { size } = await handle.stat()
  const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - offset)))
  const { bytesRead } = buffer.length === 0 ? { bytesRead: 0 } : await handle.read(buffer, 0, buffer.length, offset)
  return buffer.subarray(0, bytesRead)
}
