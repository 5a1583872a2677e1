import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { Batch, linesLostBehind } from './batch.ts'
import type { Compressor } from './compressor.ts'
import { logFiles } from './files.ts'
import { createLoss, linesLost, type Loss, type LossSeams } from './loss.ts'
import { NewestFile } from './newest-file.ts'
import { ProgressBook } from './progress.ts'
import { type Block, encodeBlock, encodeProgress, type Progress } from './record.ts'
import { prune, type Retention } from './retention.ts'

/** How much may be written after a record of progress before the next; bounds what is read when a node starts. */
const PROGRESS_EVERY_BYTES = 256 * 1024
/** Smaller files could not hold the progress and one line. */
const MIN_FILE_BYTES = 8 * 1024
/** Bounds the memory of one write. */
const MAX_BATCH_BYTES = 1024 * 1024

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
  readonly #file: NewestFile
  #limits: StoreLimits
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
    this.#file = new NewestFile(config.directory, config.replica, () => seams.clock.wallMs())
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
      await this.#file.open().catch(() => undefined)
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
        await this.#file.open()
        if (this.#isAged(this.#file.hasLines)) await this.#rotate(new Batch())
        else await this.#trim()
      } catch (error) {
        this.#seams.log.warn('log cannot be tidied', { replica: this.#replica, cause: messageOf(error) })
      }
    })
  }

  /** Resolves when what was appended is on the disk, as far as it can be. */
  sync(): Promise<void> {
    return this.#inTurn(() => this.#file.sync())
  }

  /** Idempotent; the next append opens it again. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      this.#loss.end()
      await this.#file.close()
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
    const size = this.#file.bytes + batch.bytes
    const isAged = this.#isAged(this.#file.hasLines || batch.hasLines)
    const full = (size > 0 && size + bytes.length > this.#limits.maxBytes) || isAged
    if (batch.bytes > MAX_BATCH_BYTES) await this.#write(batch)
    if (full) await this.#rotate(batch)
    if (this.#file.bytes + batch.bytes === 0 || this.#sinceProgress > PROGRESS_EVERY_BYTES) this.#addProgress(batch)
    batch.add(bytes, block)
    this.#sinceProgress += bytes.length
    this.#progress.remember({ ...block, lines: block.lines.length })
  }

  #addProgress(batch: Batch): void {
    batch.add(encodeProgress(this.#progress.all, Math.round(this.#seams.clock.wallMs())))
    this.#sinceProgress = 0
  }

  /** Spread over the files to keep, so that a line outlives its age by a part of it only. */
  #isAged(hasLines: boolean): boolean {
    const { maxAgeMs, keep } = this.#limits
    if (maxAgeMs === undefined || !hasLines) return false
    return this.#seams.clock.wallMs() - this.#file.bornMs > maxAgeMs / Math.max(1, keep - 1)
  }

  async #load(): Promise<void> {
    if (this.#loaded) return
    await this.#progress.load(this.#directory, this.#replica)
    this.#loaded = true
    this.#compress()
  }

  /** Empties the batch. */
  async #write(batch: Batch): Promise<void> {
    const records = batch.take()
    if (records.bytes.length === 0) return
    const { written, fault } = await this.#file.append(records)
    if (fault === undefined) {
      this.#loss.stored()
    } else {
      this.#loss.add(linesLostBehind(written, records), messageOf(fault))
      this.#sinceProgress = Number.POSITIVE_INFINITY
    }
    this.#seams.onAppend(records.blocks)
  }

  /** The new file begins with the progress before an old one is deleted: at no moment is it nowhere. */
  async #rotate(batch: Batch): Promise<void> {
    await this.#write(batch)
    try {
      // On a full disk it is the old ones that make room.
      await this.#file.next(async () => {
        if (this.#loss.isOn) await this.#trim()
      })
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
