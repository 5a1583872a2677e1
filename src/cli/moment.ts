import { formatDurationMs } from '../base/quantity.ts'

/** `12s ago`, `3m ago`, `2d ago`; `now` below a second, also when the clocks of two hosts disagree a little. */
export function ago(wallMs: number, nowMs: number): string {
  const ageMs = nowMs - wallMs
  if (ageMs < 1_000) return 'now'
  return `${largestUnit(formatDurationMs(ageMs))} ago`
}

function largestUnit(duration: string): string {
  return /^\d+[a-z]+/.exec(duration)?.[0] ?? duration
}

const CLOCK_TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const DATE_TIME = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium' })

/** `14:05:09` in the time zone of this process. */
export function clockTime(wallMs: number): string {
  return CLOCK_TIME.format(wallMs)
}

/** `2025-01-31 14:05:09` in the time zone of this process. */
export function dateTime(wallMs: number): string {
  return DATE_TIME.format(wallMs)
}
