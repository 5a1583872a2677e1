import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { BoundedQueue } from '../base/queue.ts'
import { createTopic } from '../base/topic.ts'
import { type EventQuery, matcher, type NodeEvent } from './event.ts'
import type { EventDisk, Segment } from './event-disk.ts'
import { type EventIds, eventIds, isEventId } from './event-ids.ts'
import { bounded, eventOf, linesOf } from './event-lines.ts'
import { findPast, readLast, readPast } from './event-reader.ts'
import { type Batch, EventWriter, type WriterConfig } from './event-writer.ts'

export interface EventLog {
  /** The id of the next event to be appended. */
  nextId(): string
  append(event: NodeEvent): void
  /** Kept events, oldest first; with `follow`, new ones until `signal` aborts. A slow follower loses the oldest. */
  query(query: EventQuery, signal: AbortSignal): AsyncIterable<NodeEvent>
  /** Undefined when it is no longer kept. */
  find(id: string): Promise<NodeEvent | undefined>
  /** How many were never written to disk, because it did not take them for too long. */
  readonly lost: number
  /** Makes durable what was told, and lets go of the files. */
  close(): Promise<void>
}

/** Events that one follower may lag behind before it loses some. */
const MAX_FOLLOWER_LAG = 1_000

/** The latest events are held in memory too: what is asked for most, and what the disk has not taken yet. */
const MAX_IN_MEMORY = 500

export interface EventLogSeams {
  readonly clock: Clock
  readonly log: Log
  readonly disk: EventDisk
}

/** Opens the events that earlier nodes kept, and goes on where they ended. */
export async function openEventLog(seams: EventLogSeams, config: WriterConfig): Promise<EventLog> {
  const { clock, log, disk } = seams
  const last = (await disk.list().catch(unreadable(log)))?.at(-1)
  const text = last === undefined ? '' : ((await disk.read(last.id).catch(unreadable(log))) ?? '')
  const lastId = linesOf(text).reduce<string | undefined>((id, line) => eventOf(line)?.id ?? id, last?.id)
  // Never behind a line that was not written to its end.
  const goOn = last !== undefined && text.endsWith('\n') ? last : undefined
  return new DiskEventLog(seams, config, eventIds(clock.wallMs(), lastId), goOn)
}

/** What cannot be read keeps no node from starting. */
function unreadable(log: Log): (error: unknown) => undefined {
  return (error) => {
    log.error('events of earlier nodes cannot be read', { error })
    return undefined
  }
}

class DiskEventLog implements EventLog {
  readonly #disk: EventDisk
  readonly #ids: EventIds
  readonly #writer: EventWriter
  readonly #topic = createTopic<NodeEvent>()
  /** The latest, oldest first. */
  readonly #recent: NodeEvent[] = []
  /** How many were there before those. */
  #forgotten = 0

  constructor({ clock, log, disk }: EventLogSeams, config: WriterConfig, ids: EventIds, last: Segment | undefined) {
    this.#disk = disk
    this.#ids = ids
    const inMemory = (from: number): Batch => {
      const first = Math.max(from, this.#forgotten)
      return { from: first, events: this.#recent.slice(first - this.#forgotten) }
    }
    this.#writer = new EventWriter({ clock, log, disk }, config, inMemory, last)
  }

  get lost(): number {
    return this.#writer.lost
  }

  nextId(): string {
    return this.#ids.next()
  }

  append(event: NodeEvent): void {
    const kept = bounded(event)
    this.#recent.push(kept)
    if (this.#recent.length > MAX_IN_MEMORY) {
      this.#recent.shift()
      this.#forgotten += 1
    }
    this.#topic.publish(kept)
    this.#writer.wake()
  }

  async *query(query: EventQuery, signal: AbortSignal): AsyncGenerator<NodeEvent, void> {
    const matches = matcher(query)
    const queue = new BoundedQueue<NodeEvent>(MAX_FOLLOWER_LAG, 'drop-oldest')
    // Subscribe before reading what is kept: both happen in one turn, so nothing falls between.
    const unsubscribe = this.#topic.subscribe((event) => query.follow && matches(event) && queue.push(event))
    const recent = [...this.#recent]
    const close = (): void => queue.close()
    if (signal.aborted) close()
    signal.addEventListener('abort', close, { once: true })
    try {
      yield* this.#past(query, matches, recent)
      if (query.follow) yield* queue
    } finally {
      unsubscribe()
      signal.removeEventListener('abort', close)
    }
  }

  async find(id: string): Promise<NodeEvent | undefined> {
    return this.#recent.find((event) => event.id === id) ?? (isEventId(id) ? findPast(this.#disk, id) : undefined)
  }

  close(): Promise<void> {
    return this.#writer.close()
  }

  /** From disk what is no longer in memory, then what is. */
  async *#past(
    { tail, sinceMs }: EventQuery,
    matches: (event: NodeEvent) => boolean,
    recent: readonly NodeEvent[],
  ): AsyncGenerator<NodeEvent, void> {
    const inMemory = recent.filter(matches)
    const query = { matches, sinceMs, beforeId: recent[0]?.id ?? this.#ids.peek() }
    if (tail === undefined) yield* readPast(this.#disk, query)
    else yield* await readLast(this.#disk, query, Math.max(0, tail - inMemory.length))
    yield* tail === undefined ? inMemory : inMemory.slice(Math.max(0, inMemory.length - tail))
  }
}
