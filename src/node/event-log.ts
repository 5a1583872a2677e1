import { BoundedQueue } from '../base/queue.ts'
import { createTopic } from '../base/topic.ts'

/** Something that happened to a unit, a member or the node itself. */
export interface NodeEvent {
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
}

export interface EventQuery {
  /** Empty = all, and those of no unit. */
  readonly units: readonly string[]
  readonly follow: boolean
  /** The last N; undefined = all that are kept. */
  readonly tail: number | undefined
  readonly sinceMs: number | undefined
}

export interface EventLog {
  append(event: NodeEvent): void
  /** Kept events, oldest first; with `follow`, new ones until `signal` aborts. A slow follower loses the oldest. */
  query(query: EventQuery, signal: AbortSignal): AsyncIterable<NodeEvent>
}

/** Events that one follower may lag behind before it loses some. */
const MAX_FOLLOWER_LAG = 1_000

/** Keeps the last `capacity` events in memory. */
export function createEventLog(capacity: number): EventLog {
  const kept: NodeEvent[] = []
  const topic = createTopic<NodeEvent>()

  return {
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

function matcher({ units, sinceMs }: EventQuery): (event: NodeEvent) => boolean {
  const wanted = new Set(units)
  return (event) => (wanted.size === 0 || wanted.has(event.unit)) && (sinceMs === undefined || event.wallMs >= sinceMs)
}
