import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { linesBackward } from './backward.ts'
import type { Records } from './batch.ts'
import { logFiles, logPath } from './files.ts'
import { writtenAtMs } from './record.ts'

const LF = 0x0a

/** The longest record of progress, so that the time in the first one is found. */
const HEAD_BYTES = 64 * 1024

/** What is known of the newest file. It stands while the file is closed, and is read anew when it is opened. */
interface FileFacts {
  /** Those of complete records. */
  readonly bytes: number
  /** Wall clock. */
  readonly bornMs: number
  readonly hasLines: boolean
}

/** What came of an append. */
export interface Appended {
  /** Bytes that came to the disk. */
  readonly written: number
  /** What kept the others from it; undefined when all of them did. */
  readonly fault: unknown
}

/** The file of a replica's log that is written: the one with the highest number. */
export class NewestFile {
  readonly #directory: string
  readonly #replica: number
  readonly #wallMs: () => number
  #handle: FileHandle | undefined
  #facts: FileFacts = { bytes: 0, bornMs: 0, hasLines: false }

  /** @param wallMs the wall clock */
  constructor(directory: string, replica: number, wallMs: () => number) {
    this.#directory = directory
    this.#replica = replica
    this.#wallMs = wallMs
  }

  get bytes(): number {
    return this.#facts.bytes
  }

  /** When the file was begun, wall clock. */
  get bornMs(): number {
    return this.#facts.bornMs
  }

  get hasLines(): boolean {
    return this.#facts.hasLines
  }

  /** Opens the file, or begins the first. */
  async open(): Promise<FileHandle> {
    if (this.#handle !== undefined) return this.#handle
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const [newest] = await logFiles(this.#directory, this.#replica)
    return this.#begin(newest === undefined ? 1 : newest.number + (newest.compressed ? 1 : 0))
  }

  /** Begins the file behind this one, which is closed. `prepare` comes between the two. */
  async next(prepare: () => Promise<void>): Promise<void> {
    await this.close()
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const [newest] = await logFiles(this.#directory, this.#replica)
    await prepare()
    await this.#begin((newest?.number ?? 0) + 1)
  }

  /** Appends records. Never rejects: what a fault leaves incomplete at the end is cut off by the next `open`. */
  async append({ bytes, blocks }: Records): Promise<Appended> {
    let written = 0
    try {
      const handle = await this.open()
      while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten
    } catch (fault) {
      await this.close()
      return { written, fault }
    }
    const { bytes: before, hasLines, bornMs } = this.#facts
    this.#facts = { bytes: before + written, bornMs, hasLines: hasLines || blocks.length > 0 }
    return { written, fault: undefined }
  }

  /** Resolves when what was appended is on the disk, as far as it can be. */
  async sync(): Promise<void> {
    await this.#handle?.datasync().catch(() => undefined)
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => undefined)
  }

  /** Cuts off what a killed node or a full disk left incomplete at the end. */
  async #begin(number: number): Promise<FileHandle> {
    const handle = await open(logPath(this.#directory, this.#replica, number), 'a+', 0o600)
    try {
      const { size } = await handle.stat()
      const bytes = await completeLength(handle, size)
      if (bytes < size) await handle.truncate(bytes)
      const head = await readHead(handle)
      this.#facts = { bytes, bornMs: head?.wallMs ?? this.#wallMs(), hasLines: bytes > (head?.bytes ?? 0) }
    } catch (error) {
      await handle.close()
      throw error
    }
    this.#handle = handle
    return handle
  }
}

async function completeLength(handle: FileHandle, size: number): Promise<number> {
  for await (const { start, bytes } of linesBackward(reading(handle), size)) return start + bytes.length + 1
  return 0
}

/** The first record of a file. */
async function readHead(handle: FileHandle): Promise<{ readonly bytes: number; readonly wallMs: number } | undefined> {
  const text = await reading(handle).read(0, HEAD_BYTES)
  const end = text.indexOf(LF)
  const wallMs = end === -1 ? undefined : writtenAtMs(text.subarray(0, end))
  return wallMs === undefined ? undefined : { bytes: end + 1, wallMs }
}

function reading(handle: FileHandle): { read(offset: number, length: number): Promise<Buffer> } {
  return {
    async read(offset, length) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset)
      return buffer.subarray(0, bytesRead)
    },
  }
}
