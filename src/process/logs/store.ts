import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { currentPath, ignoreAbsent, linesBackward, logFiles, openLogFile, rotatedNumbers } from './files.ts'
import {
  advance,
  decodeLine,
  decodeProgress,
  encodeLine,
  encodeProgress,
  isProgress,
  type LineRecord,
  NO_PROGRESS,
  type Progress,
} from './record.ts'

/** How much may be written after a record of progress before the next; bounds what is read when a node starts. */
const PROGRESS_EVERY_BYTES = 256 * 1024
/** Instances whose progress is carried on; those longest without a line are forgotten first. */
const MAX_INSTANCES = 16
/** Smaller files could not hold the progress and one line. */
const MIN_FILE_BYTES = 8 * 1024

const LF = 0x0a
/** Bounds the memory of one write. */
const MAX_BATCH_BYTES = 1024 * 1024

/** Records that are written together. */
class Batch {
  #parts: Buffer[] = []
  bytes = 0
  lines = 0

  add(part: Buffer): void {
    this.#parts.push(part)
    this.bytes += part.length
  }

  /** All of it as one buffer; the batch is empty then. */
  take(): Buffer {
    const all = Buffer.concat(this.#parts, this.bytes)
    this.#parts = []
    this.bytes = this.lines = 0
    return all
  }
}

export interface StoreLimits {
  /** Size of one file. At least 8 KiB. */
  readonly maxBytes: number
  /** Number of files, the one being written included. */
  readonly keep: number
}

/** A line to be stored; its number is given by the store. */
export type NewLine = Omit<LineRecord, 'seq'>

/**
 * The log of one replica: `<replica>.log`, rotated to `.1` ... `.keep-1`, one JSON record a line.
 *
 * Each line's record says how far the raw file is consumed with it, and a record of progress opens each file and
 * follows every 256 KiB. So the log itself is the only account of what has been read: whatever moment the node is
 * killed at, the next one reads on exactly behind the last complete record.
 *
 * A disk that is full never stops a unit: lines that cannot be stored are dropped, counted, and reported once.
 */
export class LogStore {
  readonly #directory: string
  readonly #replica: number
  readonly #log: Log
  readonly #onAppend: () => void
  #limits: StoreLimits
  #file: FileHandle | undefined
  #bytes = 0
  /** A node that has just started states the progress with its first line. */
  #sinceProgress = Number.POSITIVE_INFINITY
  #progress = new Map<string, Progress>()
  #loaded = false
  #lost = 0
  /** Everything that touches the file runs one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    seams: { readonly log: Log; readonly onAppend: () => void },
    config: { readonly directory: string; readonly replica: number } & StoreLimits,
  ) {
    this.#directory = config.directory
    this.#replica = config.replica
    this.#log = seams.log
    this.#onAppend = seams.onAppend
    this.#limits = normal(config)
  }

  /** The longest piece of a line that fits: as base64 it takes 4/3 of its size, and a file has a head. */
  get maxLineBytes(): number {
    return Math.min(1024 * 1024, Math.floor(this.#limits.maxBytes / 2))
  }

  limit(limits: StoreLimits): void {
    this.#limits = normal(limits)
  }

  /** How far the raw files of `instance` are stored. */
  progressOf(instance: string): Promise<Progress> {
    return this.#inTurn(async () => {
      await this.#load()
      return this.#progress.get(instance) ?? NO_PROGRESS
    })
  }

  /** Never rejects: what cannot be stored is counted and reported. */
  append(lines: readonly NewLine[]): Promise<void> {
    if (lines.length === 0) return Promise.resolve()
    return this.#inTurn(async () => {
      // A fault here comes back with the first write, which reports it.
      await this.#load().catch(() => undefined)
      await this.#open().catch(() => undefined)
      const batch = new Batch()
      for (const line of lines) {
        const record = { ...line, seq: (this.#progress.get(line.instance) ?? NO_PROGRESS).nextSeq }
        const bytes = encodeLine(record)
        const size = this.#bytes + batch.bytes
        const full = size > 0 && size + bytes.length > this.#limits.maxBytes
        if (full || batch.bytes > MAX_BATCH_BYTES) await this.#write(batch)
        if (full) await this.#rotate()
        if (this.#bytes + batch.bytes === 0 || this.#sinceProgress > PROGRESS_EVERY_BYTES) {
          batch.add(encodeProgress(this.#progress))
          this.#sinceProgress = 0
        }
        batch.add(bytes)
        batch.lines += 1
        this.#sinceProgress += bytes.length
        this.#remember(record)
      }
      await this.#write(batch)
      this.#onAppend()
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
    return this.#inTurn(() => this.#closeFile())
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  #remember(record: LineRecord): void {
    const progress = advance(this.#progress.get(record.instance) ?? NO_PROGRESS, record)
    // Deleted first, so that the order of the map is that of the last lines.
    this.#progress.delete(record.instance)
    this.#progress.set(record.instance, progress)
    for (const instance of this.#progress.keys()) {
      if (this.#progress.size <= MAX_INSTANCES) break
      this.#progress.delete(instance)
    }
  }

  async #load(): Promise<void> {
    if (this.#loaded) return
    for (const file of await logFiles(this.#directory, this.#replica)) {
      const handle = await openLogFile(file)
      if (handle === undefined) continue
      try {
        const progress = await readProgress(handle, (await handle.stat()).size)
        if (progress === undefined) continue
        this.#progress = progress
        break
      } finally {
        await handle.close()
      }
    }
    this.#loaded = true
  }

  /** Empties the batch. What a failed write leaves incomplete at the end of the file is cut off when it is opened again. */
  async #write(batch: Batch): Promise<void> {
    const { lines } = batch
    const bytes = batch.take()
    if (bytes.length === 0) return
    let written = 0
    try {
      const file = await this.#open()
      while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten
      this.#bytes += bytes.length
      if (this.#lost > 0) this.#log.info('log lines are stored again', { replica: this.#replica, lost: this.#lost })
      this.#lost = 0
    } catch (error) {
      if (this.#lost === 0) {
        this.#log.warn('log lines cannot be stored and are dropped', {
          replica: this.#replica,
          cause: messageOf(error),
        })
      }
      this.#lost += Math.max(0, lines - countBreaks(bytes.subarray(0, written)))
      this.#sinceProgress = Number.POSITIVE_INFINITY
      await this.#closeFile()
    }
  }

  /** Opens the current file and cuts off what a killed node or a full disk left incomplete at its end. */
  async #open(): Promise<FileHandle> {
    if (this.#file !== undefined) return this.#file
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const file = await open(currentPath(this.#directory, this.#replica), 'a+', 0o600)
    try {
      const { size } = await file.stat()
      this.#bytes = await completeLength(file, size)
      if (this.#bytes < size) await file.truncate(this.#bytes)
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

  async #rotate(): Promise<void> {
    await this.#closeFile()
    const current = currentPath(this.#directory, this.#replica)
    const nameOf = (number: number): string => (number === 0 ? current : `${current}.${number}`)
    try {
      const numbers = [...(await rotatedNumbers(this.#directory, this.#replica))].reverse()
      for (const number of [...numbers, 0]) {
        if (number + 1 >= this.#limits.keep) await rm(nameOf(number), { force: true })
        else await rename(nameOf(number), nameOf(number + 1)).catch(ignoreAbsent)
      }
      this.#bytes = 0
    } catch (error) {
      this.#log.warn('log cannot be rotated', { replica: this.#replica, cause: messageOf(error) })
    }
  }
}

function normal({ maxBytes, keep }: StoreLimits): StoreLimits {
  return { maxBytes: Math.max(MIN_FILE_BYTES, maxBytes), keep: Math.max(1, keep) }
}

/** The complete records in what a full disk still took. */
function countBreaks(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) count += 1
  return count
}

async function completeLength(file: FileHandle, size: number): Promise<number> {
  for await (const { start, bytes } of linesBackward(file, size)) return start + bytes.length + 1
  return 0
}

/** Goes back to the last record of progress, then forward again. Undefined for a file without a record. */
async function readProgress(file: FileHandle, size: number): Promise<Map<string, Progress> | undefined> {
  const later: LineRecord[] = []
  for await (const { bytes } of linesBackward(file, size)) {
    if (isProgress(bytes)) return replay(new Map(decodeProgress(bytes)), later)
    const record = decodeLine(bytes)
    // Only where the line ends matters here; its text may be large.
    if (record !== undefined) later.push({ ...record, line: new Uint8Array() })
  }
  return later.length === 0 ? undefined : replay(new Map(), later)
}

function replay(progress: Map<string, Progress>, latestFirst: readonly LineRecord[]): Map<string, Progress> {
  for (const record of [...latestFirst].reverse()) {
    const known = progress.get(record.instance) ?? NO_PROGRESS
    progress.delete(record.instance)
    progress.set(record.instance, advance(known, record))
  }
  return progress
}
