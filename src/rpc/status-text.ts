import type { Details, GrpcStatus, HsuError } from '../base/error.ts'

/** Tells our reasons from those of other APIs (https://google.aip.dev/193). */
export const STATUS_DOMAIN = 'hsu'

/**
 * The text goes out twice, as it is and inside the details; together they stay below the 8 KiB of metadata
 * that C-core (Python, C++, ...) accepts by default (GRPC_ARG_MAX_METADATA_SIZE).
 */
const MAX_MESSAGE_CHARS = 2_048
const MAX_DETAILS_BYTES = 1_024

/** As gRPC numbers them. */
// biome-ignore format: a table reads by column
const CODES: Readonly<Record<GrpcStatus, number>> = {
  CANCELLED: 1,         INVALID_ARGUMENT: 3,    DEADLINE_EXCEEDED: 4,  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,    PERMISSION_DENIED: 7,   RESOURCE_EXHAUSTED: 8, FAILED_PRECONDITION: 9,
  ABORTED: 10,          UNIMPLEMENTED: 12,      INTERNAL: 13,          UNAVAILABLE: 14,
  DATA_LOSS: 15,        UNAUTHENTICATED: 16,
}

/** The number of the gRPC status of an error. */
export function statusCodeOf(error: HsuError): number {
  return CODES[error.status]
}

/** A status as it goes over the wire. */
export interface StatusParts {
  readonly code: number
  readonly message: string
  /** A `google.rpc.Status` with an `ErrorInfo`. */
  readonly details: Buffer
}

/**
 * The same as `toStatus`, without the libraries that takes: the thread of calls says little of its own. The messages have four
 * kinds of field between them, so that they are written by hand.
 */
export function statusParts(error: HsuError): StatusParts {
  const code = CODES[error.status]
  const message = presentable(error.message)
  const entries = Object.entries(toTexts(error.details)).map(([key, value]) =>
    bytesField(3, Buffer.concat([bytesField(1, Buffer.from(key)), bytesField(2, Buffer.from(value))])),
  )
  const info = Buffer.concat([textField(1, error.reason), textField(2, STATUS_DOMAIN), ...entries])
  const any = Buffer.concat([textField(1, 'type.googleapis.com/google.rpc.ErrorInfo'), bytesField(2, info)])
  const details = Buffer.concat([Buffer.of(0x08, code), textField(2, message), bytesField(3, any)])
  return { code, message, details }
}

/** A field of protobuf whose value has a length; an empty text is left out. */
function textField(number: number, text: string): Buffer {
  return text === '' ? Buffer.alloc(0) : bytesField(number, Buffer.from(text))
}

function bytesField(number: number, bytes: Uint8Array): Buffer {
  const head = [(number << 3) | 2]
  let length = bytes.length
  for (; length >= 0x80; length >>>= 7) head.push((length & 0x7f) | 0x80)
  return Buffer.concat([Buffer.of(...head, length), bytes])
}

/** Well-formed, because grpc-js escapes the text as a URI, which throws on half a surrogate pair; and bounded. */
export function presentable(message: string): string {
  const wellFormed = Buffer.from(message).toString()
  return wellFormed.length <= MAX_MESSAGE_CHARS ? wellFormed : `${wellFormed.slice(0, MAX_MESSAGE_CHARS - 4)} ...`
}

export function toTexts(details: Details): Record<string, string> {
  const texts = Object.entries(details).map(([key, value]) => [key, String(value)] as const)
  let bytes = 0
  return Object.fromEntries(
    texts.filter(([key, value]) => {
      bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
      return bytes <= MAX_DETAILS_BYTES
    }),
  )
}
