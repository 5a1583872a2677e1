import { type LogFile, linesBackward, logFiles, openLogFile } from './files.ts'
import type { Filter } from './query.ts'
import { decodeLine } from './record.ts'

/** Whose log it is and where it lies. */
export interface LogPlace {
  readonly unit: string
  readonly replica: number
  readonly directory: string
}

/** A place in a log that stays true when files are renamed by rotation. */
export interface LogPosition {
  readonly inode: number
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

/** Finds the last `tail` lines that match, or the first since a moment, reading from the end and no more than needed. */
export async function seekBack(
  place: LogPlace,
  filter: Filter,
  { tail, sinceMs }: { readonly tail: number | undefined; readonly sinceMs: number | undefined },
  signal: AbortSignal,
): Promise<Seek> {
  const end = await endOf(place)
  if (end === undefined || (tail === undefined && sinceMs === undefined)) return { start: undefined, end, count: 0 }
  let start = end
  let count = 0
  if (tail === 0) return { start, end, count }
  for await (const { position, bytes } of walkBack(place, end)) {
    if (signal.aborted) break
    const record = decodeLine(bytes)
    if (record === undefined) continue
    if (sinceMs !== undefined && record.wallMs < sinceMs) break
    if (!filter(record)) continue
    start = position
    count += 1
    if (count === tail) break
  }
  return { start, end, count }
}

async function endOf({ directory, replica }: LogPlace): Promise<LogPosition | undefined> {
  for (const file of await logFiles(directory, replica)) {
    const handle = await openLogFile(file)
    if (handle === undefined) continue
    const { size } = await handle.stat().finally(() => handle.close())
    return { inode: file.inode, offset: size }
  }
  return undefined
}

/** All lines before `end`, last first, through the rotated files. */
async function* walkBack(
  { directory, replica }: LogPlace,
  end: LogPosition,
): AsyncGenerator<{ position: LogPosition; bytes: Buffer }> {
  let file = (await logFiles(directory, replica)).find(({ inode }) => inode === end.inode)
  let limit: number | undefined = end.offset
  while (file !== undefined) {
    const { inode }: LogFile = file
    const handle = await openLogFile(file)
    if (handle === undefined) {
      // Renamed between the listing and the opening: it has another name now, or it is gone.
      file = (await logFiles(directory, replica)).find((other) => other.inode === inode)
      continue
    }
    try {
      for await (const { start, bytes } of linesBackward(handle, limit ?? (await handle.stat()).size)) {
        yield { position: { inode, offset: start }, bytes }
      }
    } finally {
      await handle.close()
    }
    limit = undefined
    file = await neighbour(directory, replica, inode, 'older')
  }
}

/** The file written before or after the one with `inode`; undefined when there is none, or that one is gone. */
export async function neighbour(
  directory: string,
  replica: number,
  inode: number,
  which: 'older' | 'newer',
): Promise<LogFile | undefined> {
  const files = await logFiles(directory, replica)
  const index = files.findIndex((file) => file.inode === inode)
  return index === -1 ? undefined : files[which === 'older' ? index + 1 : index - 1]
}
