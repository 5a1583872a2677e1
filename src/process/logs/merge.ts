import type { LogLine } from './query.ts'
import type { LogReader } from './reader.ts'

/** What the readers have now, merged by time; within one log the order of the log is kept. Ends when none has more. */
export async function* mergeByTime(
  readers: readonly LogReader[],
  signal: AbortSignal,
): AsyncGenerator<LogLine, void, undefined> {
  const over = (): boolean => signal.aborted
  while (!over()) {
    let first: LogReader | undefined
    for (const reader of readers) {
      while (reader.head === undefined && reader.pending && !over()) await reader.fill()
      if (isEarlier(reader.head, first?.head)) first = reader
    }
    if (first?.head === undefined || over()) return
    yield first.head
    first.shift()
  }
}

/** At the same millisecond by unit and replica, so that the order is always the same. */
function isEarlier(line: LogLine | undefined, than: LogLine | undefined): boolean {
  if (line === undefined || than === undefined) return line !== undefined
  if (line.wallMs !== than.wallMs) return line.wallMs < than.wallMs
  return line.unit === than.unit ? line.replica < than.replica : line.unit < than.unit
}
