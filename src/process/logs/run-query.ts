import { join } from 'node:path'
import { UNIT_NAME } from '../unit-name.ts'
import { type LogPlace, namesIn, replicasIn } from './files.ts'
import { mergeByTime } from './merge.ts'
import type { ParseMode } from './parse.ts'
import { filterOf, type LogLine, type LogQuery } from './query.ts'
import { LogReader } from './reader.ts'
import { cursorsOf, seekBack } from './seek.ts'
import { createWake } from '../../base/wake.ts'

export interface QuerySeams {
  readonly logDir: string
  readonly parseOf: (unit: string) => ParseMode
  readonly followers: Set<(unit: string, replica: number) => void>
}

/** See `Output.query`. */
export async function* runQuery(
  seams: QuerySeams,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void, undefined> {
  for await (const lines of runQueryInBatches(seams, query, signal)) yield* lines
}

/** See `Output.batches`. */
export async function* runQueryInBatches(
  seams: QuerySeams,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[], void, undefined> {
  const { logDir, followers, parseOf } = seams
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
    yield* firstPart(seams, query, readers, signal)
    if (!query.follow) return
    for (const reader of readers.values()) reader.unlimit()
    while (!isOver(signal)) {
      for (const [key, place] of fresh) {
        const filter = filterOf(query, parseOf(place.unit))
        const reader = readers.get(key) ?? new LogReader(place, filter, undefined, undefined)
        readers.set(key, reader)
        reader.pending = true
      }
      fresh.clear()
      yield* mergeByTime([...readers.values()], signal)
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
  { logDir, parseOf }: QuerySeams,
  query: LogQuery,
  readers: Map<string, LogReader>,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[], void, undefined> {
  let surplus = 0
  for (const place of await placesIn(logDir, query.units)) {
    const wanted = wantedOf(place, query)
    const filter = filterOf(wanted, parseOf(place.unit))
    const { start, end, count } = await seekBack(place, filter, wanted, signal)
    if (end === undefined) continue
    readers.set(`${place.unit}/${place.replica}`, new LogReader(place, filter, start, end))
    surplus += count
  }
  // Who goes on behind what it has seen misses nothing of that.
  const isResumed = (query.after ?? []).length > 0
  surplus = query.tail === undefined || isResumed ? 0 : surplus - query.tail
  for await (const lines of mergeByTime([...readers.values()], signal)) {
    // Each log gave its last `tail` lines; the first of them all together are too many.
    const skipped = Math.min(surplus, lines.length)
    surplus -= skipped
    yield lines.slice(skipped)
  }
}

/** Who goes on behind a line that was seen wants all that came since, however old that line is. */
function wantedOf(place: LogPlace, query: LogQuery): LogQuery {
  const isResumed = cursorsOf(place, query.after ?? []).size > 0
  return isResumed ? { ...query, sinceMs: undefined, tail: undefined } : query
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
