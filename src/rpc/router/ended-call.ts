import type { CallDoor } from './call-metrics.ts'

/** What a call was, when it is over. Plain data. */
export interface EndedCall {
  readonly door: CallDoor
  /** `/service/method`, as the caller wrote it. */
  readonly path: string
  /** '' when it found none. */
  readonly unit: string
  /** '' when it went to none. */
  readonly instance: string
  /** Id of the node of that instance; '' = this one, or none. */
  readonly servedBy: string
  /** Who called: `host:port`, or the id of a node. */
  readonly peer: string
  /** Of gRPC. */
  readonly status: number
  /** Why we answered it ourselves; '' when we did not. */
  readonly reason: string
  /** Wall clock. */
  readonly endedAtMs: number
  readonly tookMs: number
  /** Of messages, with their frames. */
  readonly requestBytes: number
  readonly responseBytes: number
  /** Times it was sent to an instance; 0 when it went to none. */
  readonly attempts: number
  /** It waited for its unit to wake. */
  readonly held: boolean
  /** As it came (W3C Trace Context); '' when the call had none. */
  readonly traceparent: string
  /** Drawn once for each call, in [0, 1), so that all who want a share of the calls agree on which. */
  readonly chance: number
}

/** Which of the calls that end somebody wants to see. */
export interface CallInterest {
  /** Of all calls, 0 to 1. */
  readonly share: number
  /** All that did not end with OK. */
  readonly failed: boolean
  /** All whose caller wants their trace recorded. */
  readonly traced: boolean
}

export const ALL_CALLS: CallInterest = { share: 1, failed: false, traced: false }

/** What takes all of these; undefined when there are none. */
export function unionOf(interests: Iterable<CallInterest>): CallInterest | undefined {
  let union: CallInterest | undefined
  for (const { share, failed, traced } of interests) {
    union = {
      share: Math.max(share, union?.share ?? 0),
      failed: failed || union?.failed === true,
      traced: traced || union?.traced === true,
    }
  }
  return union
}

export function isOfInterest(
  { chance, status, traceparent }: Pick<EndedCall, 'chance' | 'status' | 'traceparent'>,
  { share, failed, traced }: CallInterest,
): boolean {
  return chance < share || (failed && status !== 0) || (traced && traceOf(traceparent)?.sampled === true)
}

/** What a `traceparent` says. */
export interface Trace {
  readonly traceId: string
  /** Of the caller's span. */
  readonly parentId: string
  readonly sampled: boolean
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** Undefined for one that is none (W3C Trace Context 3.2): version ff, ids that are all zero, more fields than version 00 has. */
export function traceOf(traceparent: string): Trace | undefined {
  const [, version, traceId = '', parentId = '', flags = '', more] = TRACEPARENT.exec(traceparent) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}
