import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'
import { Metadata, type StatusObject, status as codes } from '@grpc/grpc-js'
import { type Details, HsuError, isReason, type Reason } from '../base/error.ts'
import { type ErrorInfo, ErrorInfoSchema } from './gen/google/rpc/error_details_pb.ts'
import { presentable, STATUS_DOMAIN, toTexts } from './status-text.ts'
import { StatusSchema } from './gen/google/rpc/status_pb.ts'

/** The trailer that carries a `google.rpc.Status`, as all gRPC libraries know it. */
const DETAILS_KEY = 'grpc-status-details-bin'

/** Reasons for what servers that are not ours answer. What is not here is `INTERNAL`. */
const PLAIN_REASONS: Readonly<Partial<Record<codes, Reason>>> = {
  [codes.CANCELLED]: 'CANCELLED',
  [codes.INVALID_ARGUMENT]: 'USAGE',
  [codes.DEADLINE_EXCEEDED]: 'TIMED_OUT',
  [codes.NOT_FOUND]: 'UNIT_NOT_FOUND',
  [codes.ALREADY_EXISTS]: 'UNIT_EXISTS',
  [codes.PERMISSION_DENIED]: 'NOT_PERMITTED',
  [codes.UNAUTHENTICATED]: 'NOT_AUTHENTICATED',
  [codes.RESOURCE_EXHAUSTED]: 'LIMIT_EXCEEDED',
  [codes.UNIMPLEMENTED]: 'UNSUPPORTED',
  [codes.UNAVAILABLE]: 'NODE_UNREACHABLE',
}

/** What grpc-js says when it could not connect; it gives the cause in words only. */
const NO_LISTENER = /ECONNREFUSED|ENOENT|No connection established|Name resolution failed/

/** An `HsuError` as gRPC sends it: status code, text, and `google.rpc.Status` with an `ErrorInfo`. */
export function toStatus(error: HsuError): StatusObject {
  const code = codes[error.status]
  const message = presentable(error.message)
  const info = create(ErrorInfoSchema, {
    reason: error.reason,
    domain: STATUS_DOMAIN,
    metadata: toTexts(error.details),
  })
  const details = create(StatusSchema, { code, message, details: [anyPack(ErrorInfoSchema, info)] })
  const metadata = new Metadata()
  metadata.set(DETAILS_KEY, Buffer.from(toBinary(StatusSchema, details)))
  return { code, details: message, metadata }
}

/**
 * The `HsuError` behind a failed call to `target`. One that a node sent comes back as it was, save that its details
 * are texts. Any other status gets the nearest reason, its name before the message, and `{ code }` as detail.
 */
export function fromStatus(failed: unknown, target: string): HsuError {
  if (!isStatus(failed)) return HsuError.from(failed)
  const info = findInfo(failed.metadata)
  if (info !== undefined && isReason(info.reason)) {
    return new HsuError(info.reason, failed.details, { details: info.metadata, cause: failed })
  }
  const name = codes[failed.code]
  const options = { details: { code: name, target }, cause: failed }
  if (failed.code === codes.UNAVAILABLE && NO_LISTENER.test(failed.details)) return notConnected(target, options)
  if (failed.code === codes.DEADLINE_EXCEEDED)
    return new HsuError('TIMED_OUT', `no answer from ${target} in time`, options)
  return new HsuError(PLAIN_REASONS[failed.code] ?? 'INTERNAL', `${name}: ${failed.details}`, options)
}

/** True for what grpc-js throws for a failed call, and for what a handler may throw to answer with a status of its own. */
export function isStatus(thrown: unknown): thrown is StatusObject {
  return (
    typeof thrown === 'object' &&
    thrown !== null &&
    'code' in thrown &&
    typeof thrown.code === 'number' &&
    thrown.code in codes &&
    'details' in thrown &&
    typeof thrown.details === 'string'
  )
}

function notConnected(target: string, options: { details: Details; cause: unknown }): HsuError {
  if (target.startsWith('unix:')) {
    const path = target.slice('unix:'.length)
    return new HsuError('NOT_STARTED', `no node listens on ${path}; start one with 'hsu up'`, options)
  }
  return new HsuError('NODE_UNREACHABLE', `cannot connect to ${target}: nothing answers there`, options)
}

function findInfo(metadata: Metadata | undefined): ErrorInfo | undefined {
  const [bytes] = metadata?.get(DETAILS_KEY) ?? []
  if (bytes === undefined || typeof bytes === 'string') return undefined
  try {
    for (const any of fromBinary(StatusSchema, bytes).details) {
      const info = anyUnpack(any, ErrorInfoSchema)
      if (info?.domain === STATUS_DOMAIN) return info
    }
  } catch {
    // Whatever another server puts there, the status itself still counts.
  }
  return undefined
}
