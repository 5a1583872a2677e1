import type { NodeEvent } from './event.ts'

/** Longest text that is kept of one field. A unit's own words (the output of a probe) may be of any length. */
const MAX_FIELD_CHARS = 2_000

/** The event with its texts cut to a bound. */
export function bounded(event: NodeEvent): NodeEvent {
  const { reason, cause, details } = event
  const short = Object.values(details).every((text) => text.length <= MAX_FIELD_CHARS)
  if (short && reason.length <= MAX_FIELD_CHARS && cause.length <= MAX_FIELD_CHARS) return event
  const cutDetails = Object.fromEntries(Object.entries(details).map(([name, text]) => [name, cut(text)]))
  return { ...event, reason: cut(reason), cause: cut(cause), details: cutDetails }
}

function cut(text: string): string {
  return text.length <= MAX_FIELD_CHARS ? text : `${text.slice(0, MAX_FIELD_CHARS)}…`
}

/** One line of JSON, its end included; the id comes first, which makes it cheap to find. */
export function lineOf({ id, ...rest }: NodeEvent): string {
  return `${JSON.stringify({ id, ...rest })}\n`
}

/** Undefined for a line that a crash left half-written, or that is damaged. */
export function eventOf(line: string): NodeEvent | undefined {
  if (!line.startsWith('{"id":') || !line.endsWith('}')) return undefined
  try {
    return JSON.parse(line) as NodeEvent
  } catch {
    return undefined
  }
}

/** The event of that id in the text of a segment. */
export function findLine(text: string, id: string): NodeEvent | undefined {
  const mark = `{"id":"${id}",`
  const start = text.startsWith(mark) ? 0 : text.indexOf(`\n${mark}`) + 1
  if (start === 0 && !text.startsWith(mark)) return undefined
  const end = text.indexOf('\n', start)
  return eventOf(text.slice(start, end < 0 ? undefined : end))
}

/** The complete lines of a segment, in order. */
export function linesOf(text: string): readonly string[] {
  const lines = text.split('\n')
  // After the last line end there is nothing, or a line that was not written to its end.
  lines.pop()
  return lines
}
