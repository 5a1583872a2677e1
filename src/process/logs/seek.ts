import { linesBackward } from './backward.ts'
import { type LogFile, logFiles, type LogPlace, openLogFile } from './files.ts'
import type { Filter, LogCursor } from './query.ts'
import { type Block, decodeBlock } from './record.ts'

/** A place in a log that stays true whatever rotation does. */
export interface LogPosition {
  /** The number of the file. */
  readonly number: number
  readonly offset: number
}

/** Where to begin, where the log ended at that moment, and how many matching lines lie between. */
export interface Seek {
  /** Undefined = at the oldest line there is. */
  readonly start: LogPosition | undefined
  /** Undefined = there was no log. */
  readonly end: LogPosition | undefined
  readonly count: number
}

interface Wanted {
  readonly tail: number | undefined
  readonly sinceMs: number | undefined
  readonly after?: readonly LogCursor[]
}

/**
 * Finds where the last `tail` lines that match begin, or the first since a moment, or those behind lines that were seen;
 * reads from the end and no more than needed. Lines are found by blocks, so that `count` may exceed `tail`.
 */
export async function seekBack(place: LogPlace, filter: Filter, wanted: Wanted, signal: AbortSignal): Promise<Seek> {
  const { tail, sinceMs } = wanted
  const end = await endOf(place)
  const unseen = cursorsOf(place, wanted.after ?? [])
  if (end === undefined || (tail === undefined && sinceMs === undefined && unseen.size === 0)) {
    return { start: undefined, end, count: 0 }
  }
  let start = end
  let count = 0
  if (tail === 0) return { start, end, count }
  const seeksCursor = unseen.size > 0
  for await (const { position, block } of walkBack(place, end)) {
    if (signal.aborted) break
    if (sinceMs !== undefined && block.wallMs < sinceMs) break
    const matching = filter(block, place).length
    count += matching
    if (matching > 0 || seeksCursor) start = position
    if (tail !== undefined && count >= tail) break
    const seenTo = unseen.get(block.instance)
    if (seenTo !== undefined && block.seq <= seenTo) unseen.delete(block.instance)
    if (seeksCursor && unseen.size === 0) break
  }
  return { start, end, count }
}

/** Those of the cursors that stand in the log of this replica. */
export function cursorsOf(
  { unit, replica }: Omit<LogPlace, 'directory'>,
  after: readonly LogCursor[],
): Map<string, number> {
  const prefix = `${unit}-${replica}-`
  // Names of instances end in hex digits, so that `a-0-1f` is not taken for one of unit `a-0`.
  const own = after.filter(
    ({ instance }) => instance.startsWith(prefix) && !instance.slice(prefix.length).includes('-'),
  )
  return new Map(own.map(({ instance, seq }) => [instance, seq]))
}

async function endOf({ directory, replica }: LogPlace): Promise<LogPosition | undefined> {
  for (const file of await logFiles(directory, replica)) {
    const source = await openLogFile(file)
    if (source === undefined) continue
    const size = await source.size().finally(() => source.close())
    return { number: file.number, offset: size }
  }
  return undefined
}

/** All blocks before `end`, last first, through the rotated files. */
async function* walkBack(
  { directory, replica }: LogPlace,
  end: LogPosition,
): AsyncGenerator<{ position: LogPosition; block: Block }> {
  const files: readonly LogFile[] = await logFiles(directory, replica)
  for (const file of files.filter(({ number }) => number <= end.number)) {
    const { number } = file
    const source = await openLogFile(file)
    // Deleted by rotation, and so are those before.
    if (source === undefined) return
    try {
      const size = number === end.number ? end.offset : await source.size()
      for await (const { start, bytes } of linesBackward(source, size)) {
        const block = decodeBlock(bytes)
        if (block !== undefined) yield { position: { number, offset: start }, block }
      }
    } finally {
      await source.close()
    }
  }
}
