import type { LogLine } from './query.ts'
import type { LogReader } from './reader.ts'

/** Lines handed on at once: a step of an async generator for each line would cost more than the line itself. */
const MAX_BATCH_LINES = 500
/** Lines may be large; so many bytes are enough for one step. */
const MAX_BATCH_BYTES = 256 * 1024

/** What the readers have now, merged by time; within one log the order of the log is kept. Ends when none has more. */
export async function* mergeByTime(
  readers: readonly LogReader[],
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[], void, undefined> {
  const over = (): boolean => signal.aborted
  let batch: LogLine[] = []
  let bytes = 0
  while (!over()) {
    let first: LogReader | undefined
    for (const reader of readers) {
      while (reader.head === undefined && reader.pending && !over()) await reader.fill()
      if (isEarlier(reader.head, first?.head)) first = reader
    }
    const line = first?.head
    first?.shift()
    if (line !== undefined) batch.push(line)
    bytes += line?.line.length ?? 0
    if (line === undefined || batch.length === MAX_BATCH_LINES || bytes > MAX_BATCH_BYTES) {
      yield batch
      batch = []
      bytes = 0
    }
    if (line === undefined) return
  }
}

/** At the same millisecond by unit and replica, so that the order is always the same. */
function isEarlier(line: LogLine | undefined, than: LogLine | undefined): boolean {
  if (line === undefined || than === undefined) return line !== undefined
  if (line.wallMs !== than.wallMs) return line.wallMs < than.wallMs
  return line.unit === than.unit ? line.replica < than.replica : line.unit < than.unit
}
