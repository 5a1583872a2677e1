import type { EventQuery, NodeEvent } from './event.ts'
import type { EventLog } from './event-log.ts'

/** Events whose files another process may write to for a while. Meanwhile nothing is told here. */
export interface EventsInTurn extends EventLog {
  /** Makes durable what was told and lets go of the files. */
  handOver(): Promise<void>
  /** Goes on where the other process ended. */
  takeBack(): Promise<void>
}

/** One opened log and the end of its turn. */
interface Turn {
  readonly log: EventLog
  readonly over: AbortController
}

export async function eventsInTurn(open: () => Promise<EventLog>, wallMs: () => number): Promise<EventsInTurn> {
  let turn: Turn = { log: await open(), over: new AbortController() }
  let handedOverAtMs = 0
  const takenBack = new Set<() => void>()

  /** Resolves when there is a next turn, or `signal` aborts. */
  const nextTurn = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        takenBack.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      takenBack.add(done)
      signal.addEventListener('abort', done)
      if (signal.aborted || !turn.over.signal.aborted) done()
    })

  return {
    get lost() {
      return turn.log.lost
    },
    nextId: () => turn.log.nextId(),
    append(event) {
      if (!turn.over.signal.aborted) turn.log.append(event)
    },
    find: (id) => turn.log.find(id),
    close: () => turn.log.close(),

    async *query(query, signal) {
      let rest = query
      for (;;) {
        yield* duringTurn(turn, rest, signal)
        if (!query.follow || signal.aborted) return
        await nextTurn(signal)
        rest = { ...query, tail: undefined, sinceMs: handedOverAtMs }
      }
    },

    async handOver() {
      handedOverAtMs = wallMs()
      turn.over.abort()
      await turn.log.close()
    },

    async takeBack() {
      turn = { log: await open(), over: new AbortController() }
      for (const done of [...takenBack]) done()
    },
  }
}

async function* duringTurn(
  { log, over }: Turn,
  query: EventQuery,
  signal: AbortSignal,
): AsyncGenerator<NodeEvent, void> {
  const inner = new AbortController()
  const end = (): void => inner.abort()
  const outer = [signal, over.signal]
  for (const each of outer) each.addEventListener('abort', end)
  if (outer.some(({ aborted }) => aborted)) end()
  try {
    yield* log.query(query, inner.signal)
  } finally {
    for (const each of outer) each.removeEventListener('abort', end)
  }
}
