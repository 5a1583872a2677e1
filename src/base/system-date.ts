/** RFC 3339 in UTC with milliseconds, the only form in which HSU prints a time. Asks no clock. */
export function toRfc3339(wallMs: number): string {
  return new Date(wallMs).toISOString()
}

/** Milliseconds since the epoch of an RFC 3339 text; undefined when it is none. */
export function parseRfc3339Ms(text: string): number | undefined {
  const wallMs = Date.parse(text)
  return Number.isNaN(wallMs) ? undefined : wallMs
}

/** For libraries that want a `Date`. Asks no clock. */
export function dateOf(wallMs: number): Date {
  return new Date(wallMs)
}
