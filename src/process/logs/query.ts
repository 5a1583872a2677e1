import type { Level, ParseMode } from './parse.ts'
import { isAtLeast, parseLine } from './parse.ts'
import type { Block, Stream } from './record.ts'
import type { LogPlace } from './files.ts'

/** A line of a unit's output. */
export interface LogLine {
  /** When the node read it, in ms since the epoch. */
  readonly wallMs: number
  readonly unit: string
  readonly instance: string
  readonly replica: number
  /** The unit's own program; undefined when nobody knew it. */
  readonly pid: number | undefined
  readonly stream: Stream
  /** Counts the lines of an instance over both streams, from 0; a gap is a line that could not be stored. */
  readonly seq: number
  /** Any bytes, without the line end. A line longer than 1 MiB comes in pieces of 1 MiB. */
  readonly line: Uint8Array
  /** What the line says of itself, as far as `parse` of the unit understands it. */
  readonly level: Level | undefined
  readonly message: string | undefined
}

/** A line that a reader has seen: it goes on behind it. */
export interface LogCursor {
  readonly instance: string
  readonly seq: number
}

/** Which lines to give. */
export interface LogQuery {
  /** Empty = all. */
  readonly units: readonly string[]
  /** Goes on with lines as they come. */
  readonly follow: boolean
  /** Only so many of the last lines that match, all replicas together; undefined = all. */
  readonly tail: number | undefined
  /** Only lines read at this moment or later. */
  readonly sinceMs: number | undefined
  /** Only lines read before this moment. */
  readonly untilMs?: number | undefined
  readonly stream: Stream | undefined
  /** Only lines that match. */
  readonly grep: RegExp | undefined
  /** Only lines of this level or a more severe one. */
  readonly level?: Level | undefined
  /** Only what comes behind these lines in the logs of their replicas; of logs that have none of them, all. */
  readonly after?: readonly LogCursor[]
}

/** Which of the lines of a block match, with all that is said of them. */
export type Filter = (block: Block, place: LogPlace) => LogLine[]

export function filterOf(query: LogQuery, parse: ParseMode): Filter {
  const { grep, level, after = [] } = query
  // `g` and `y` would make the answer depend on the line before.
  const pattern = grep === undefined ? undefined : new RegExp(grep.source, grep.flags.replace(/[gy]/g, ''))
  const seen = new Map(after.map(({ instance, seq }) => [instance, seq]))
  return (block, { unit, replica }) => {
    if (!mayMatch(block, query)) return []
    const { wallMs, instance, pid, stream, lines } = block
    const found: LogLine[] = []
    const seenTo = seen.get(instance) ?? -1
    lines.forEach((line, index) => {
      const seq = block.seq + index
      if (seq <= seenTo) return
      const text = typeof line === 'string' ? line : line.toString('utf8')
      if (pattern !== undefined && !pattern.test(text)) return
      const meaning = parseLine(text, parse)
      if (level !== undefined && !isAtLeast(meaning.level, level)) return
      const bytes = typeof line === 'string' ? Buffer.from(line) : line
      found.push({ wallMs, unit, instance, replica, pid, stream, seq, line: bytes, ...meaning })
    })
    return found
  }
}

function mayMatch({ wallMs, stream }: Block, query: LogQuery): boolean {
  const { sinceMs = -Infinity, untilMs = Infinity } = query
  return wallMs >= sinceMs && wallMs < untilMs && (query.stream === undefined || stream === query.stream)
}
