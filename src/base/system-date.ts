/** RFC 3339 in UTC with milliseconds, the only form in which HSU prints a time. Asks no clock. */
export function toRfc3339(wallMs: number): string {
  return new Date(wallMs).toISOString()
}

/** `2025-01-31 14:05:09` in the time zone of this process. By hand: the first `Intl.DateTimeFormat` costs 5 MB. */
export function toLocalTime(wallMs: number): string {
  const date = new Date(wallMs)
  const two = (part: number): string => String(part).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
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
