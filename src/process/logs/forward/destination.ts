import { createHash } from 'node:crypto'
import type { UnitConfig } from '../../config.ts'
import { FACILITIES } from '../../config/forward.ts'
import type { LogLine } from '../query.ts'

type Forward = UnitConfig['logs']['forward'][number]

const DEFAULT_MESSAGE_BYTES = 8 * 1024

export interface SyslogDestination {
  readonly kind: 'syslog'
  readonly url: string
  readonly transport:
    | { readonly type: 'udp' | 'tcp'; readonly host: string; readonly port: number }
    | { readonly type: 'unix'; readonly path: string }
  readonly facility: number
  readonly framing: 'octets' | 'lines'
  readonly maxMessageBytes: number
}

export interface OtlpDestination {
  readonly kind: 'otlp'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export type Destination = SyslogDestination | OtlpDestination

/** A place that takes lines. One call at a time. */
export interface Sink {
  /** So long may one `send` take. */
  readonly timeoutMs: number
  /**
   * Resolves when the lines were taken, as far as the protocol tells, with how many were refused for good.
   * @throws SendError, or what the system says, when none may have been taken and it can be tried again
   */
  send(lines: readonly LogLine[], signal: AbortSignal): Promise<Refusal | undefined>
  /** Idempotent. The next `send` opens it again. */
  close(): void
}

export interface Refusal {
  readonly lines: number
  readonly why: string
}

/** The destination said when it may be tried again. */
export class SendError extends Error {
  readonly afterMs: number

  constructor(message: string, afterMs = 0) {
    super(message)
    this.afterMs = afterMs
  }
}

export function destinationOf({ syslog, otlp, facility = 'user', ...more }: Forward): Destination {
  if (syslog === undefined) return { kind: 'otlp', url: logsUrl(otlp ?? ''), headers: more.headers ?? {} }
  return {
    kind: 'syslog',
    url: syslog,
    transport: transportOf(syslog),
    facility: FACILITIES.indexOf(facility),
    framing: more.framing ?? 'octets',
    maxMessageBytes: more.max_message ?? DEFAULT_MESSAGE_BYTES,
  }
}

function transportOf(url: string): SyslogDestination['transport'] {
  if (url.startsWith('unix:')) return { type: 'unix', path: url.replace(/^unix:(\/\/)?(?=\/)/, '') }
  const [, type, bracketed, plain, port] = /^(udp|tcp):\/\/(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(url) ?? []
  return { type: type === 'udp' ? 'udp' : 'tcp', host: bracketed ?? plain ?? '', port: Number(port) }
}

function logsUrl(base: string): string {
  return /\/v1\/logs\/?$/.test(base) ? base : `${base.replace(/\/+$/, '')}/v1/logs`
}

/** Keys of the store that begin so say how far lines were sent. */
export const POSITIONS = 'log-forward/'

/** Where a unit stands with a destination is kept under this key: new headers, say, do not begin anew. */
export function positionKey(unit: string, { url }: Destination): string {
  return `${POSITIONS}${unit}/${createHash('sha256').update(url).digest('hex').slice(0, 16)}.json`
}
