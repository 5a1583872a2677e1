import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { EventDisk, Segment } from './event-disk.ts'
import { lineOf } from './event-lines.ts'
import type { NodeEvent } from './event.ts'

/** What is kept is this many files at most, so that one file is a small part of it. */
const SEGMENTS = 16

/** Events written at once. */
const MAX_BATCH = 200

/** A crash of the machine, not of the node, loses what was written in this time. */
const SYNC_MS = 1_000

/** How long after a failed write the next one is tried. */
const RETRY_MS = 5_000

/** How often old files are looked for, at most; an idle node does not look. */
const PRUNE_MS = 3_600_000

export interface WriterSeams {
  readonly clock: Clock
  readonly log: Log
  readonly disk: EventDisk
}

export interface WriterConfig {
  readonly maxBytes: number
  readonly maxAgeMs: number
}

/** Events in memory that go one after the other; each has a number, the first ever told is 0. */
export interface Batch {
  /** Number of the first of `events`. */
  readonly from: number
  readonly events: readonly NodeEvent[]
}

/** The events in memory from number `from` on, or from the first that is still there. */
export type InMemory = (from: number) => Batch

/** The file that is written to. */
interface Present {
  readonly id: string
  readonly bytes: number
  /** Wall clock. */
  readonly beganMs: number
}

/** Writes events to disk in the background, in order, and keeps the files within their bounds. Never blocks who tells. */
export class EventWriter {
  readonly #seams: WriterSeams
  readonly #config: WriterConfig
  readonly #inMemory: InMemory
  readonly #segmentBytes: number
  readonly #tasks
  #segment: Present | undefined
  /** Number of the next event to write. */
  #written = 0
  #lost = 0
  #failing = false
  #writing: Promise<void> | undefined
  #syncing = false
  #prunedAtMs = -Infinity

  /** `last`: the file to go on with. */
  constructor(seams: WriterSeams, config: WriterConfig, inMemory: InMemory, last: Segment | undefined) {
    this.#seams = seams
    this.#config = config
    this.#inMemory = inMemory
    this.#segmentBytes = Math.max(1, Math.floor(config.maxBytes / SEGMENTS))
    this.#segment = last && { id: last.id, bytes: last.bytes, beganMs: last.modifiedMs }
    this.#tasks = createTaskGroup((error) => seams.log.error('events cannot be kept', { error }))
  }

  /** Events that were never written, because the disk did not take them for too long. */
  get lost(): number {
    return this.#lost
  }

  /** There is something new to be written. */
  wake(): void {
    // While the disk refuses, the next try has its time.
    if (this.#failing) return
    this.#start()
    const { clock } = this.#seams
    if (clock.nowMs() - this.#prunedAtMs < PRUNE_MS || this.#segment === undefined) return
    const { id } = this.#segment
    this.#tasks.run(() => this.#prune(id))
  }

  /** Writes what is left, makes it durable, lets go of the files. */
  async close(): Promise<void> {
    const { disk } = this.#seams
    while (this.#writing !== undefined) await this.#writing
    await this.#writeAll().catch((error: unknown) => this.#failed(error))
    await this.#tasks.stop()
    if (this.#segment !== undefined) await disk.sync(this.#segment.id).catch(() => undefined)
    await disk.close()
  }

  #start(): void {
    this.#writing ??= this.#writeAll()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#writing = undefined
      })
  }

  #failed(error: unknown): void {
    const { clock, log } = this.#seams
    if (!this.#failing) log.error('events cannot be written to disk; the latest are kept in memory', { error })
    this.#failing = true
    this.#tasks.run(async (signal) => {
      await clock.sleep(RETRY_MS, signal)
      this.#start()
    })
  }

  async #writeAll(): Promise<void> {
    for (;;) {
      const { from, events } = this.#inMemory(this.#written)
      const batch = events.slice(0, MAX_BATCH)
      const [first] = batch
      if (first === undefined) return
      this.#lost += from - this.#written
      this.#written = from
      await this.#write(first.id, batch.map(lineOf).join(''))
      this.#written += batch.length
      if (this.#failing) this.#seams.log.info('events are written to disk again', { lost: this.#lost })
      this.#failing = false
    }
  }

  async #write(firstId: string, text: string): Promise<void> {
    const { disk } = this.#seams
    const bytes = Buffer.byteLength(text)
    const segment = await this.#segmentFor(firstId, bytes)
    try {
      await disk.append(segment.id, text)
    } catch (error) {
      await this.#cutTorn()
      throw error
    }
    this.#segment = { ...segment, bytes: segment.bytes + bytes }
    this.#syncSoon()
  }

  /** The present file while there is room in it, else a new one. */
  async #segmentFor(firstId: string, bytes: number): Promise<Present> {
    const { clock, disk } = this.#seams
    const present = this.#segment
    if (present !== undefined && present.bytes + bytes <= this.#segmentBytes && !this.#isOld(present.beganMs)) {
      return present
    }
    if (present !== undefined) await disk.sync(present.id)
    const next = { id: firstId, bytes: 0, beganMs: clock.wallMs() }
    this.#segment = next
    await this.#prune(next.id)
    return next
  }

  /** Files go as a whole, so that one holds no more than a part of the time either. */
  #isOld(beganMs: number): boolean {
    return this.#seams.clock.wallMs() - beganMs > this.#config.maxAgeMs / SEGMENTS
  }

  /** What a failed write left must not become part of the next line. */
  async #cutTorn(): Promise<void> {
    const { id, bytes } = this.#segment ?? { id: '', bytes: 0 }
    await this.#seams.disk.truncate(id, bytes).catch(() => {
      this.#segment = undefined
    })
  }

  #syncSoon(): void {
    if (this.#syncing) return
    this.#syncing = true
    this.#tasks.run(async (signal) => {
      const { clock, disk } = this.#seams
      await clock.sleep(SYNC_MS, signal).finally(() => {
        this.#syncing = false
      })
      if (this.#segment !== undefined) await disk.sync(this.#segment.id)
    })
  }

  async #prune(currentId: string): Promise<void> {
    const { clock, disk } = this.#seams
    const { maxBytes, maxAgeMs } = this.#config
    this.#prunedAtMs = clock.nowMs()
    const segments = (await disk.list()).filter(({ id }) => id !== currentId)
    let room = maxBytes - this.#segmentBytes
    for (const { id, bytes, modifiedMs } of [...segments].reverse()) {
      room -= bytes
      if (room < 0 || modifiedMs < clock.wallMs() - maxAgeMs) await disk.remove(id)
    }
  }
}
