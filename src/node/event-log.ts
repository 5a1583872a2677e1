import { BoundedQueue } from '../base/queue.ts'
import { createTopic } from '../base/topic.ts'
import { countingIds } from '../process/index.ts'

/** Something that happened to a unit, a member or the node itself. */
export interface NodeEvent {
  /** Unlike that of any other event of this node; later events have later ids. */
  readonly id: string
  readonly wallMs: number
  readonly node: string
  /** Empty for events of members and of the node. */
  readonly unit: string
  readonly instance: string
  /** Past tense after a dot: `unit.exited`, `member.dead`. */
  readonly type: string
  readonly reason: string
  readonly details: Readonly<Record<string, string>>
  /** What led to it, in words; empty when nothing did. */
  readonly cause: string
  /** Id of the event that led to it; empty when none did, or it is not known. */
  readonly causedBy: string
  /** Who asked for it, in words; empty when nobody did. */
  readonly actor: string
}

export interface EventQuery {
  /** Empty = all, and those of no unit. */
  readonly units: readonly string[]
  readonly follow: boolean
  /** The last N; undefined = all that are kept. */
  readonly tail: number | undefined
  readonly sinceMs: number | undefined
  /** Types, or beginnings of types (`unit.`, `unit.*`); absent or empty = all. */
  readonly types?: readonly string[]
}

/** Every event that is kept. */
export const ALL_EVENTS: EventQuery = { units: [], follow: false, tail: undefined, sinceMs: undefined }

export interface EventLog {
  /** The id of the next event to be appended. */
  nextId(): string
  append(event: NodeEvent): void
  /** Kept events, oldest first; with `follow`, new ones until `signal` aborts. A slow follower loses the oldest. */
  query(query: EventQuery, signal: AbortSignal): AsyncIterable<NodeEvent>
  /** Undefined when it is no longer kept. */
  find(id: string): Promise<NodeEvent | undefined>
}

/** Events that one follower may lag behind before it loses some. */
const MAX_FOLLOWER_LAG = 1_000

/** Keeps the last `capacity` events in memory. */
export function createEventLog(capacity: number): EventLog {
  const kept: NodeEvent[] = []
  const topic = createTopic<NodeEvent>()

  return {
    nextId: countingIds(),
    find: async (id) => kept.find((event) => event.id === id),
    append(event) {
      kept.push(event)
      if (kept.length > capacity) kept.shift()
      topic.publish(event)
    },

    async *query(query, signal) {
      const matches = matcher(query)
      const queue = new BoundedQueue<NodeEvent>(MAX_FOLLOWER_LAG, 'drop-oldest')
      // Subscribe before reading what is kept: both happen in one turn, so nothing falls between.
      const unsubscribe = topic.subscribe((event) => matches(event) && queue.push(event))
      const close = (): void => queue.close()
      if (signal.aborted) close()
      signal.addEventListener('abort', close, { once: true })
      try {
        const past = kept.filter(matches)
        yield* query.tail === undefined ? past : past.slice(Math.max(0, past.length - query.tail))
        if (query.follow) yield* queue
      } finally {
        unsubscribe()
        signal.removeEventListener('abort', close)
      }
    },
  }
}

/** Whether an event is one that was asked for. */
function matcher({ units, types = [], sinceMs }: EventQuery): (event: NodeEvent) => boolean {
  const wanted = new Set(units)
  const isOfType = typeMatcher(types)
  return (event) =>
    (wanted.size === 0 || wanted.has(event.unit)) &&
    (sinceMs === undefined || event.wallMs >= sinceMs) &&
    isOfType(event.type)
}

function typeMatcher(types: readonly string[]): (type: string) => boolean {
  if (types.length === 0) return () => true
  const exact = new Set(types)
  const beginnings = types.map((type) => type.replace(/[*]$/, '')).filter((type) => type.endsWith('.'))
  return (type) => exact.has(type) || beginnings.some((beginning) => type.startsWith(beginning))
}
