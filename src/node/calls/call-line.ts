import { toRfc3339 } from '../../base/system-date.ts'
import { type EndedCall, statusName, traceOf } from '../../rpc/index.ts'

/** A line of the access log. Public API: add keys freely, never rename or remove one. */
export interface CallLine {
  /** When it was over. */
  readonly time: string
  /** Name of the node it went through. */
  readonly node: string
  /** `ingress`: from a program of its host; `link`: from another node. */
  readonly door: string
  /** `host:port`, or the name of a node. */
  readonly peer: string
  readonly service: string
  readonly method: string
  /** '' when it found none. */
  readonly unit: string
  readonly instance: string
  /** Name of the node of the instance; '' when it went to none. */
  readonly servedBy: string
  /** Name of its gRPC status. */
  readonly code: string
  /** Why the node answered it itself; '' when it did not. */
  readonly reason: string
  readonly seconds: number
  /** Of messages, with their frames. */
  readonly requestBytes: number
  readonly responseBytes: number
  /** Times it was sent to an instance. */
  readonly attempts: number
  /** It waited for its unit to wake. */
  readonly held: boolean
  /** Of its `traceparent`; '' when it had none. */
  readonly traceId: string
}

/** What a line takes besides the call. */
export interface LineContext {
  readonly node: string
  /** The name of another node; its id when it has gone. */
  readonly nameOf: (nodeId: string) => string
}

/** Names come from callers and are cut. */
const MAX_NAME_CHARS = 256

export function callLine(call: EndedCall, { node, nameOf }: LineContext): CallLine {
  const { door, path, unit, instance, servedBy, peer, status, reason, endedAtMs, tookMs } = call
  const { requestBytes, responseBytes, attempts, held, traceparent } = call
  const [, service = path, method = ''] = /^\/([^/]+)\/([^/]+)$/.exec(path) ?? []
  return {
    time: toRfc3339(endedAtMs),
    node,
    door,
    peer: door === 'link' ? nameOf(peer) : peer,
    service: service.slice(0, MAX_NAME_CHARS),
    method: method.slice(0, MAX_NAME_CHARS),
    unit,
    instance,
    servedBy: servedBy !== '' ? nameOf(servedBy) : instance === '' ? '' : node,
    code: statusName(status),
    reason,
    seconds: Math.round(tookMs * 1_000) / 1e6,
    ...{ requestBytes, responseBytes, attempts, held },
    traceId: traceOf(traceparent)?.traceId ?? '',
  }
}
