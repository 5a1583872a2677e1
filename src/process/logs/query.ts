import type { LineRecord, Stream } from './record.ts'

/** A line of a unit's output. */
export interface LogLine {
  /** When the node read it, in ms since the epoch. */
  readonly wallMs: number
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly stream: Stream
  /** Counts the lines of an instance over both streams, from 0; a gap is a line that could not be stored. */
  readonly seq: number
  /** Any bytes, without the line end. A line longer than 1 MiB comes in pieces of 1 MiB. */
  readonly line: Uint8Array
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
  readonly stream: Stream | undefined
  /** Only lines that match. */
  readonly grep: RegExp | undefined
}

export type Filter = (record: LineRecord) => boolean

export function filterOf({ sinceMs, stream, grep }: LogQuery): Filter {
  // `g` and `y` would make the answer depend on the line before.
  const pattern = grep === undefined ? undefined : new RegExp(grep.source, grep.flags.replace(/[gy]/g, ''))
  return (record) =>
    (sinceMs === undefined || record.wallMs >= sinceMs) &&
    (stream === undefined || record.stream === stream) &&
    (pattern === undefined || pattern.test(Buffer.from(record.line).toString('utf8')))
}
