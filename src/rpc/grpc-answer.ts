import type { HsuError } from '../base/error.ts'
import { statusParts } from './status-text.ts'

/** Fields by name. */
export type AnswerFields = Readonly<Record<string, string | number>>

/** An answer that is nothing but a failure: one block of header fields, as gRPC's Trailers-Only has it. */
export function answerFields(error: HsuError): AnswerFields {
  return {
    ':status': 200,
    'content-type': 'application/grpc',
    ...trailerFields(error),
  }
}

/** The end of a call that fails after its answer has begun. */
export function trailerFields(error: HsuError): AnswerFields {
  const { code, message, details } = statusParts(error)
  const { retryAfterMs } = error.details
  return {
    // gRFC A6: clients that retry by themselves wait for so long.
    ...(typeof retryAfterMs === 'number' ? { 'grpc-retry-pushback-ms': String(retryAfterMs) } : {}),
    'grpc-status-details-bin': details.toString('base64'),
    'grpc-status': String(code),
    'grpc-message': percentEncoded(message),
  }
}

/** The answer to what is not gRPC at all: HTTP's 415 for those who know no gRPC, the failure for those who do. */
export function notGrpcFields(error: HsuError): AnswerFields {
  return { ...answerFields(error), ':status': 415 }
}

const TIMEOUT_UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
}

/** The value of `grpc-timeout`, such as `200m`, in ms; undefined when it is not well formed. */
export function parseTimeoutMs(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? []
  const unitMs = TIMEOUT_UNIT_MS[unit ?? '']
  return amount === undefined || unitMs === undefined ? undefined : Number(amount) * unitMs
}

/** `grpc-timeout` for so many ms: at most eight digits, so long times are told in seconds. */
export function formatTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms))
  return whole <= 99_999_999 ? `${whole}m` : `${Math.min(99_999_999, Math.ceil(whole / 1_000))}S`
}

/** As grpc-message is sent: all but printable ASCII, and %, as %XX of its UTF-8 bytes. */
function percentEncoded(text: string): string {
  let encoded = ''
  for (const byte of Buffer.from(text)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}
