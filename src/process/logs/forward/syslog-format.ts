import { toRfc3339 } from '../../../base/system-date.ts'
import type { Level } from '../parse.ts'
import type { LogLine } from '../query.ts'

/** The severities of RFC 5424, 6.2.1. */
const SEVERITIES: Readonly<Record<Level, number>> = { trace: 7, debug: 7, info: 6, warn: 4, error: 3, fatal: 2 }
/** What says nothing of itself is informational, from either stream. */
const UNKNOWN_SEVERITY = 6
const MAX_APP_NAME_CHARS = 48
/** 32473 is the number for those who have none of their own (RFC 5612). */
const SD_ID = 'hsu@32473'

export interface SyslogTerms {
  readonly hostname: string
  readonly facility: number
  readonly maxBytes: number
}

/**
 * One line as a message of RFC 5424: `<14>1 TIME NODE UNIT PID STREAM [hsu@32473 instance="..." seq="..."] LINE`. The text is
 * what the unit wrote, byte for byte, cut where it is too long, in UTF-8 between two characters.
 */
export function syslogMessage(line: LogLine, { hostname, facility, maxBytes }: SyslogTerms): Buffer {
  const severity = line.level === undefined ? UNKNOWN_SEVERITY : SEVERITIES[line.level]
  const app = line.unit.slice(0, MAX_APP_NAME_CHARS)
  const data = `[${SD_ID} instance="${line.instance}" seq="${line.seq}"]`
  const head = Buffer.from(
    `<${facility * 8 + severity}>1 ${toRfc3339(line.wallMs)} ${hostname} ${app} ${line.pid ?? '-'} ${line.stream} ${data} `,
  )
  return Buffer.concat([head, cut(line.line, Math.max(0, maxBytes - head.length))])
}

function cut(bytes: Uint8Array, maxBytes: number): Uint8Array {
  if (bytes.length <= maxBytes) return bytes
  let end = maxBytes
  // A character of UTF-8 has at most three bytes behind its first.
  while (end > maxBytes - 4 && end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return bytes.subarray(0, end)
}

/** Messages as one stream (RFC 6587): each behind its length, or each before a line end, which no line has in it. */
export function frame(messages: readonly Buffer[], framing: 'octets' | 'lines'): Buffer {
  const parts = messages.flatMap((message) =>
    framing === 'octets' ? [Buffer.from(`${message.length} `), message] : [message, Buffer.from('\n')],
  )
  return Buffer.concat(parts)
}
