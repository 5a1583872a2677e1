import { formatDurationMs } from '../base/quantity.ts'
import { toLocalTime } from '../base/system-date.ts'

/** `12s ago`, `3m ago`, `2d ago`; `now` below a second, also when the clocks of two hosts disagree a little. */
export function ago(wallMs: number, nowMs: number): string {
  const ageMs = nowMs - wallMs
  if (ageMs < 1_000) return 'now'
  return `${largestUnit(formatDurationMs(ageMs))} ago`
}

function largestUnit(duration: string): string {
  return /^\d+[a-z]+/.exec(duration)?.[0] ?? duration
}

/** `14:05:09` in the time zone of this process. */
export function clockTime(wallMs: number): string {
  return toLocalTime(wallMs).split(' ')[1] ?? ''
}

/** `2025-01-31 14:05:09` in the time zone of this process. */
export function dateTime(wallMs: number): string {
  return toLocalTime(wallMs)
}
