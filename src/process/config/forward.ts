import * as z from 'zod'
import { size, text } from '../../base/schema.ts'

export const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['ntp', 'audit', 'alert', 'clock', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
] as const

const SYSLOG_URL = /^((udp|tcp):\/\/([^\s:/[\]@]+|\[[0-9a-fA-F:.]+\]):\d{1,5}|unix:\/.+)$/

/** The biggest UDP datagram of IPv4 with room for headers. */
const MAX_DATAGRAM_BYTES = 65_000
const MIN_MESSAGE_BYTES = 480
const MAX_MESSAGE_BYTES = 1024 * 1024

const ONLY_SYSLOG = ['facility', 'framing', 'max_message'] as const

const destination = z
  .strictObject({
    syslog: z
      .string()
      .regex(SYSLOG_URL, 'must be udp://HOST:PORT, tcp://HOST:PORT or unix:/PATH of a stream socket')
      .optional()
      .describe('Syslog server (RFC 5424): udp://HOST:PORT, tcp://HOST:PORT or unix:/PATH of a stream socket'),
    otlp: z
      .url({ protocol: /^https?$/, error: 'must be a http or https URL, such as http://127.0.0.1:4318' })
      .optional()
      .describe('OpenTelemetry collector, spoken to as OTLP/HTTP with JSON; /v1/logs is added'),
    facility: z.enum(FACILITIES).optional().describe('Syslog facility. Default: user'),
    framing: z
      .enum(['octets', 'lines'])
      .optional()
      .describe('How messages are told apart on tcp and unix (RFC 6587): by their length (default), or by line ends'),
    max_message: size
      .refine((bytes) => bytes >= MIN_MESSAGE_BYTES && bytes <= MAX_MESSAGE_BYTES, 'must be between 480B and 1MiB')
      .optional()
      .describe('Longest syslog message; longer ones are cut. Default: 8KiB'),
    headers: z
      .record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the name of an HTTP header'), text)
      .optional()
      .describe('HTTP headers for otlp, such as authorization'),
  })
  .superRefine((value, context) => {
    const add = (message: string, key?: string): void =>
      context.addIssue({ code: 'custom', message, ...(key === undefined ? {} : { path: [key] }) })
    if (/^https?:\/\/[^/?#]*@/i.test(value.otlp ?? '')) add('must not hold a password: write it into headers', 'otlp')
    if ((value.syslog === undefined) === (value.otlp === undefined)) add('must have exactly one of syslog, otlp')
    if (value.syslog === undefined)
      for (const key of ONLY_SYSLOG) if (value[key] !== undefined) add('is for syslog', key)
    if (value.otlp === undefined && value.headers !== undefined) add('is for otlp', 'headers')
    if (value.syslog?.startsWith('udp:') !== true) return
    if (value.framing !== undefined) add('is for tcp and unix: over udp each message is a datagram', 'framing')
    if ((value.max_message ?? 0) > MAX_DATAGRAM_BYTES) add('must be at most 65000B over udp', 'max_message')
  })

/** Where a unit's lines are sent too. */
export const forward = z
  .array(destination)
  .max(8)
  .superRefine((all, context) => {
    const urls = all.map(({ syslog, otlp }) => syslog ?? otlp)
    urls.forEach((url, index) => {
      if (urls.indexOf(url) < index)
        context.addIssue({ code: 'custom', path: [index], message: `'${url}' is there twice` })
    })
  })
