import { type FileHandle, mkdir, open } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { linesBackward } from './backward.ts'
import { logFiles, logPath } from './files.ts'
import type { Compressor } from './compressor.ts'
import { createLoss, linesLost, type Loss, type LossSeams } from './loss.ts'
import { ProgressBook } from './progress.ts'
import { type Block, encodeBlock, encodeProgress, type Progress, writtenAtMs } from './record.ts'
import { prune, type Retention } from './retention.ts'

/** How much may be written after a record of progress before the next; bounds what is read when a node starts. */
const PROGRESS_EVERY_BYTES = 256 * 1024
/** Smaller files could not hold the progress and one line. */
const MIN_FILE_BYTES = 8 * 1024
/** Bounds the memory of one write. */
const MAX_BATCH_BYTES = 1024 * 1024
/** The longest record of progress, so that the time in the first one is found. */
const HEAD_BYTES = 64 * 1024

const LF = 0x0a

/** Records that are written together. */
class Batch {
  #parts: Buffer[] = []
  #blocks: Block[] = []
  bytes = 0

  add(part: Buffer, block?: Block): void {
    this.#parts.push(part)
    if (block !== undefined) this.#blocks.push(block)
    this.bytes += part.length
  }

  /** All of it as one buffer; the batch is empty then. */
  take(): { readonly bytes: Buffer; readonly blocks: readonly Block[] } {
    const all = { bytes: Buffer.concat(this.#parts, this.bytes), blocks: this.#blocks }
    this.#parts = []
    this.#blocks = []
    this.bytes = 0
    return all
  }
}

export interface StoreLimits extends Retention {
  /** Size of one file. At least 8 KiB. */
  readonly maxBytes: number
}

/** Lines to be stored; their numbers are given by the store. */
export type NewBlock = Omit<Block, 'seq'> & {
  /** What came before them was dropped, which shows as a gap in the numbers. */
  readonly afterGap?: boolean
}

export interface StoreSeams extends LossSeams {
  readonly clock: Clock
  readonly log: Log
  /** What was stored, or could not be. */
  readonly onAppend: (blocks: readonly Block[]) => void
  readonly compressor: Compressor
}

/**
 * The log of one replica: files of JSON records, one a line, of which the newest is written (logs/files.ts).
 *
 * Each record of lines says how far the raw file is consumed with it, and a record of progress opens each file and
 * follows every 256 KiB. So the log itself is the only account of what has been read: whatever moment the node is
 * killed at, the next one reads on exactly behind the last complete record.
 *
 * A disk that is full never stops a unit: lines that cannot be stored are dropped, counted, and reported once.
 */
export class LogStore {
  readonly #directory: string
  readonly #replica: number
  readonly #seams: StoreSeams
  readonly #progress = new ProgressBook()
  #limits: StoreLimits
  #file: FileHandle | undefined
  #number = 0
  #bytes = 0
  /** When the file was begun, and whether there are lines in it. */
  #bornMs = 0
  #hasLines = false
  /** A node that has just started states the progress with its first line. */
  #sinceProgress = Number.POSITIVE_INFINITY
  #loaded = false
  readonly #loss: Loss
  /** Everything that touches the file runs one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(seams: StoreSeams, config: { readonly directory: string; readonly replica: number } & StoreLimits) {
    this.#directory = config.directory
    this.#replica = config.replica
    this.#seams = seams
    this.#loss = createLoss(seams, linesLost(config.replica))
    this.#limits = normal(config)
  }

  /** The longest piece of a line that fits: as base64 it takes 4/3 of its size, and a file has a head. */
  get maxLineBytes(): number {
    return Math.min(1024 * 1024, Math.floor(this.#limits.maxBytes / 2))
  }

  limit(limits: StoreLimits): void {
    this.#limits = normal(limits)
  }

  /** How far the raw files of `instance` are stored. It is carried on until `release`. */
  progressOf(instance: string): Promise<Progress> {
    return this.#inTurn(async () => {
      await this.#load()
      this.#progress.hold(instance)
      return this.#progress.of(instance)
    })
  }

  release(instance: string): void {
    this.#progress.release(instance)
  }

  /** Never rejects: what cannot be stored is counted and reported. */
  append(blocks: readonly NewBlock[]): Promise<void> {
    if (blocks.length === 0) return Promise.resolve()
    return this.#inTurn(async () => {
      // A fault here comes back with the first write, which reports it.
      await this.#load().catch(() => undefined)
      await this.#open().catch(() => undefined)
      const batch = new Batch()
      for (const block of blocks) await this.#put(block, batch)
      await this.#write(batch)
    })
  }

  /** Begins a new file when the lines of this one get too old, and deletes what is too old. Never rejects. */
  tidy(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        const [newest] = await logFiles(this.#directory, this.#replica)
        if (newest === undefined) return
        await this.#open()
        if (this.#isAged()) await this.#rotate(new Batch())
        else await this.#trim()
      } catch (error) {
        this.#seams.log.warn('log cannot be tidied', { replica: this.#replica, cause: messageOf(error) })
      }
    })
  }

  /** Resolves when what was appended is on the disk, as far as it can be. */
  sync(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#file?.datasync().catch(() => undefined)
    })
  }

  /** Idempotent; the next append opens it again. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      this.#loss.end()
      await this.#closeFile()
    })
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #put({ afterGap = false, ...given }: NewBlock, batch: Batch): Promise<void> {
    const block = { ...given, seq: this.#progress.of(given.instance).nextSeq + (afterGap ? 1 : 0) }
    const bytes = encodeBlock(block)
    const size = this.#bytes + batch.bytes
    const full = (size > 0 && size + bytes.length > this.#limits.maxBytes) || this.#isAged()
    if (batch.bytes > MAX_BATCH_BYTES) await this.#write(batch)
    if (full) await this.#rotate(batch)
    if (this.#bytes + batch.bytes === 0 || this.#sinceProgress > PROGRESS_EVERY_BYTES) this.#addProgress(batch)
    batch.add(bytes, block)
    this.#hasLines = true
    this.#sinceProgress += bytes.length
    this.#progress.remember({ ...block, lines: block.lines.length })
  }

  #addProgress(batch: Batch): void {
    batch.add(encodeProgress(this.#progress.all, Math.round(this.#seams.clock.wallMs())))
    this.#sinceProgress = 0
  }

  /** Spread over the files to keep, so that a line outlives its age by a part of it only. */
  #isAged(): boolean {
    const { maxAgeMs, keep } = this.#limits
    if (maxAgeMs === undefined || !this.#hasLines) return false
    return this.#seams.clock.wallMs() - this.#bornMs > maxAgeMs / Math.max(1, keep - 1)
  }

  async #load(): Promise<void> {
    if (this.#loaded) return
    await this.#progress.load(this.#directory, this.#replica)
    this.#loaded = true
    this.#compress()
  }

  /** Empties the batch. What a failed write leaves incomplete at the end of the file is cut off when it is opened again. */
  async #write(batch: Batch): Promise<void> {
    const { bytes, blocks } = batch.take()
    if (bytes.length === 0) return
    let written = 0
    try {
      const file = await this.#open()
      while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten
      this.#bytes += bytes.length
      this.#loss.stored()
    } catch (error) {
      this.#loss.add(linesOf(blocks) - storedLines(bytes.subarray(0, written), blocks), messageOf(error))
      this.#sinceProgress = Number.POSITIVE_INFINITY
      await this.#closeFile()
    }
    this.#seams.onAppend(blocks)
  }

  /** Opens the newest file and cuts off what a killed node or a full disk left incomplete at its end. */
  async #open(): Promise<FileHandle> {
    if (this.#file !== undefined) return this.#file
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const [newest] = await logFiles(this.#directory, this.#replica)
    this.#number = newest === undefined ? 1 : newest.number + (newest.compressed ? 1 : 0)
    return this.#begin()
  }

  async #begin(): Promise<FileHandle> {
    const file = await open(logPath(this.#directory, this.#replica, this.#number), 'a+', 0o600)
    try {
      const { size } = await file.stat()
      this.#bytes = await completeLength(file, size)
      if (this.#bytes < size) await file.truncate(this.#bytes)
      const head = await readHead(file)
      this.#bornMs = head?.wallMs ?? this.#seams.clock.wallMs()
      this.#hasLines = this.#bytes > (head?.bytes ?? 0)
    } catch (error) {
      await file.close()
      throw error
    }
    this.#file = file
    return file
  }

  async #closeFile(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => undefined)
  }

  /** The new file begins with the progress before an old one is deleted: at no moment is it nowhere. */
  async #rotate(batch: Batch): Promise<void> {
    await this.#write(batch)
    await this.#closeFile()
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      const [newest] = await logFiles(this.#directory, this.#replica)
      this.#number = (newest?.number ?? 0) + 1
      // On a full disk it is the old ones that make room.
      if (this.#loss.isOn) await this.#trim()
      await this.#begin()
      this.#addProgress(batch)
      await this.#write(batch)
      await this.#trim()
    } catch (error) {
      this.#seams.log.warn('log cannot be rotated', { replica: this.#replica, cause: messageOf(error) })
    }
  }

  async #trim(): Promise<void> {
    const place = { directory: this.#directory, replica: this.#replica }
    await prune(place, this.#limits, this.#seams.clock.wallMs())
    this.#compress()
  }

  #compress(): void {
    if (this.#limits.compress) this.#seams.compressor.wants({ directory: this.#directory, replica: this.#replica })
  }
}

function normal(limits: StoreLimits): StoreLimits {
  return { ...limits, maxBytes: Math.max(MIN_FILE_BYTES, limits.maxBytes), keep: Math.max(1, limits.keep) }
}

function linesOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { lines }) => sum + lines.length, 0)
}

/** The lines of the complete records in what a full disk still took. */
function storedLines(bytes: Buffer, blocks: readonly Block[]): number {
  let records = 0
  let progress = 0
  for (let start = 0, at = bytes.indexOf(LF); at !== -1; start = at + 1, at = bytes.indexOf(LF, start)) {
    records += 1
    if (bytes.toString('latin1', start, start + 5) === '{"p":') progress += 1
  }
  return linesOf(blocks.slice(0, records - progress))
}

async function completeLength(file: FileHandle, size: number): Promise<number> {
  for await (const { start, bytes } of linesBackward(reading(file), size)) return start + bytes.length + 1
  return 0
}

/** The first record of a file. */
async function readHead(file: FileHandle): Promise<{ readonly bytes: number; readonly wallMs: number } | undefined> {
  const text = await reading(file).read(0, HEAD_BYTES)
  const end = text.indexOf(LF)
  const wallMs = end === -1 ? undefined : writtenAtMs(text.subarray(0, end))
  return wallMs === undefined ? undefined : { bytes: end + 1, wallMs }
}

function reading(file: FileHandle): { read(offset: number, length: number): Promise<Buffer> } {
  return {
    async read(offset, length) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset)
      return buffer.subarray(0, bytesRead)
    },
  }
}
