import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { UNIT_NAME } from './config.ts'
import { type Capture, type CaptureSource, startCapture } from './logs/capture.ts'
import { namesIn, replicasIn } from './logs/files.ts'
import { mergeByTime } from './logs/merge.ts'
import { filterOf, type LogLine, type LogQuery } from './logs/query.ts'
import { LogReader } from './logs/reader.ts'
import { type LogPlace, seekBack } from './logs/seek.ts'
import { LogStore } from './logs/store.ts'
import { createWake } from './logs/wake.ts'
import type { RunCommand } from './run-command.ts'

export type { Capture, CaptureSource, LogLine, LogQuery }

/**
 * The output of all units: from the raw files that the units write to the logs that people read.
 *
 * A unit appends to `stdout` and `stderr` of its instance by itself, so it neither waits for a reader nor dies
 * with the node. A capture tails the two, splits them into lines and stores these in
 * `<logDir>/<unit>/<replica>.log`, rotated and bounded (logs/store.ts); the records there say how far the raw
 * files are consumed, so after a kill -9 the next node goes on without losing or repeating a line. The disk
 * under the consumed part of a raw file is given back as it is consumed (logs/hole-punch.ts).
 */
export interface Output {
  /** Begins to take the output of an instance, or goes on with it. */
  capture(source: CaptureSource): Capture
  /**
   * The lines that match, merged by time over units and replicas. Ends when all are given or, with `follow`, when
   * `signal` aborts. Lines wait on the disk for a slow reader; it loses only what rotation deletes before it comes to it.
   */
  query(query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined>
  /** Ends all captures where they are, without finishing them. */
  close(): Promise<void>
}

export function createOutput(
  seams: { readonly clock: Clock; readonly log: Log; readonly run: RunCommand },
  { logDir }: { readonly logDir: string },
): Output {
  const stores = new Map<string, { readonly store: LogStore; users: number }>()
  const captures = new Set<Capture>()
  const followers = new Set<(unit: string, replica: number) => void>()

  /** One store a replica, whoever writes to it. */
  function acquire({ unit, replica, maxBytes, keep }: CaptureSource): {
    store: LogStore
    readonly release: () => Promise<void>
  } {
    const key = `${unit}/${replica}`
    const known = stores.get(key) ?? { store: newStore(unit, replica, { maxBytes, keep }), users: 0 }
    stores.set(key, known)
    known.users += 1
    known.store.limit({ maxBytes, keep })
    return {
      store: known.store,
      async release() {
        known.users -= 1
        if (known.users > 0) return
        stores.delete(key)
        await known.store.close()
      },
    }
  }

  function newStore(unit: string, replica: number, limits: { maxBytes: number; keep: number }): LogStore {
    const onAppend = (): void => {
      for (const notify of followers) notify(unit, replica)
    }
    const log = seams.log.with({ unit })
    return new LogStore({ log, onAppend }, { directory: join(logDir, unit), replica, ...limits })
  }

  function capture(source: CaptureSource): Capture {
    const { store, release } = acquire(source)
    const running = startCapture({ ...seams, store }, source)
    let released: Promise<void> | undefined
    const letGo = (): Promise<void> => {
      released ??= release().finally(() => captures.delete(handle))
      return released
    }
    const handle: Capture = {
      async finish() {
        const isRead = await running.finish()
        await letGo()
        return isRead
      },
      async close() {
        await running.close()
        await letGo()
      },
    }
    captures.add(handle)
    return handle
  }

  return {
    capture,
    query: (query, signal) => runQuery({ logDir, followers }, query, signal),
    async close() {
      await Promise.all([...captures].map((each) => each.close()))
    },
  }
}

interface QuerySeams {
  readonly logDir: string
  readonly followers: Set<(unit: string, replica: number) => void>
}

async function* runQuery(
  { logDir, followers }: QuerySeams,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void, undefined> {
  const filter = filterOf(query)
  const readers = new Map<string, LogReader>()
  const wake = createWake()
  const fresh = new Map<string, LogPlace>()
  const notify = (unit: string, replica: number): void => {
    if (query.units.length > 0 && !query.units.includes(unit)) return
    fresh.set(`${unit}/${replica}`, { unit, replica, directory: join(logDir, unit) })
    wake.notify()
  }
  signal.addEventListener('abort', wake.notify)
  if (query.follow) followers.add(notify)
  try {
    for await (const lines of firstPart(logDir, query, readers, signal)) yield* lines
    if (!query.follow) return
    for (const reader of readers.values()) reader.unlimit()
    while (!isOver(signal)) {
      for (const [key, place] of fresh) {
        const reader = readers.get(key) ?? new LogReader(place, filter, undefined, undefined)
        readers.set(key, reader)
        reader.pending = true
      }
      fresh.clear()
      for await (const lines of mergeByTime([...readers.values()], signal)) yield* lines
      await wake.wait()
    }
  } finally {
    followers.delete(notify)
    signal.removeEventListener('abort', wake.notify)
    for (const reader of readers.values()) await reader.close()
  }
}

/** The lines there are at this moment. The readers stand behind them afterwards. */
async function* firstPart(
  logDir: string,
  query: LogQuery,
  readers: Map<string, LogReader>,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[], void, undefined> {
  const filter = filterOf(query)
  let surplus = 0
  for (const place of await placesIn(logDir, query.units)) {
    const { start, end, count } = await seekBack(place, filter, query, signal)
    if (end === undefined) continue
    readers.set(`${place.unit}/${place.replica}`, new LogReader(place, filter, start, end))
    surplus += count
  }
  surplus -= query.tail ?? surplus
  for await (const lines of mergeByTime([...readers.values()], signal)) {
    // Each log gave its last `tail` lines; the first of them all together are too many.
    const skipped = Math.min(surplus, lines.length)
    surplus -= skipped
    yield lines.slice(skipped)
  }
}

async function placesIn(logDir: string, units: readonly string[]): Promise<LogPlace[]> {
  const places: LogPlace[] = []
  for (const unit of units.length > 0 ? new Set(units) : await namesIn(logDir)) {
    // A name is a part of a path here, and may come from afar.
    if (!UNIT_NAME.test(unit)) continue
    const directory = join(logDir, unit)
    for (const replica of await replicasIn(directory)) places.push({ unit, replica, directory })
  }
  return places
}

/** The signal changes while we wait, which the compiler does not see. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted
}
