import type { HsuError } from '../../base/error.ts'
import { ErrorCode } from '../h2/protocol.ts'
import type { CallCounter, CallDoor, CallMetrics } from '../router/call-metrics.ts'
import { statusCodeOf } from '../status-text.ts'
import type { Target } from '../target.ts'
import type { CallHead } from './call-head.ts'

/** A call as far as it is counted. */
export interface TalliedCall {
  readonly head: Pick<CallHead, 'path' | 'counter'>
  readonly target: Target | undefined
  readonly calledAtMs: number
  readonly requestBytes: number
  readonly responseBytes: number
  /** The status of the unit; undefined when it gave none. */
  readonly status: number | undefined
  /** What we said ourselves. */
  readonly failure: HsuError | undefined
  /** The code by which we reset it. */
  readonly resetCode: number | undefined
  /** The unit's answer is complete. */
  readonly far: { readonly ended: boolean }
  /** It had to wait for its unit. */
  held: boolean
  counter: CallCounter | undefined
}

/** What a call was, when it is over. */
export interface EndedCall {
  readonly door: CallDoor
  readonly path: string
  readonly unit: string
  /** '' when it went to none. */
  readonly instance: string
  /** Of gRPC. */
  readonly status: number
  /** Why we answered it ourselves; '' when we did not. */
  readonly reason: string
  readonly tookMs: number
  readonly requestBytes: number
  readonly responseBytes: number
}

/** Counts the calls of one door. */
export class Tally {
  readonly #metrics: CallMetrics
  readonly #door: CallDoor
  readonly #nowMs: () => number
  readonly #onEnd: ((call: EndedCall) => void) | undefined

  /** `onEnd` is told of each call, for whoever wants to see them all. */
  constructor(
    metrics: CallMetrics,
    door: CallDoor,
    nowMs: () => number,
    onEnd: ((call: EndedCall) => void) | undefined,
  ) {
    this.#metrics = metrics
    this.#door = door
    this.#nowMs = nowMs
    this.#onEnd = onEnd
  }

  /** It has a target: the first one, or another after a miss. */
  sent(call: TalliedCall, isRetry: boolean): void {
    const { unit } = call.target ?? {}
    if (unit === undefined) return
    if (call.counter === undefined) {
      const counter = this.#counterOf(call.head, unit)
      counter.inFlight += 1
      if (call.held) counter.held += 1
      call.counter = counter
    }
    if (isRetry) call.counter.retries += 1
  }

  over(call: TalliedCall): void {
    const { target, failure, requestBytes, responseBytes, head } = call
    // What goes to the control API is no call to a unit.
    if (target !== undefined && target.unit === undefined) return
    const counter = call.counter ?? this.#refused(call)
    if (call.counter !== undefined) counter.inFlight -= 1
    const status = statusOf(call)
    const tookMs = Math.max(0, this.#nowMs() - call.calledAtMs)
    counter.requestBytes += requestBytes
    counter.responseBytes += responseBytes
    counter.ended(status, tookMs)
    if (this.#onEnd === undefined) return
    const { unit, door } = counter
    const reason = failure?.reason ?? ''
    const instance = target?.instance ?? ''
    this.#onEnd({ door, path: head.path, unit, instance, status, reason, tookMs, requestBytes, responseBytes })
  }

  /** A call that went nowhere. */
  #refused({ head, failure }: TalliedCall): CallCounter {
    const unit = failure?.reason === 'OVERLOADED' ? String(failure.details['unit']) : ''
    const counter = this.#metrics.counter(this.#door, unit, head.path)
    if (unit !== '') counter.rejected += 1
    return counter
  }

  /** Calls that look the same have one head, on which it is remembered. */
  #counterOf(head: TalliedCall['head'], unit: string): CallCounter {
    const known = head.counter
    if (known !== undefined && known.unit === unit && known.door === this.#door) return known
    const counter = this.#metrics.counter(this.#door, unit, head.path)
    head.counter = counter
    return counter
  }
}

const CANCELLED = 1
const UNKNOWN = 2

/** HTTP/2 codes as gRPC has them (PROTOCOL-HTTP2.md). */
const STATUS_OF_CODE: Readonly<Record<number, number>> = {
  [ErrorCode.refusedStream]: 14,
  [ErrorCode.cancel]: CANCELLED,
  [ErrorCode.enhanceYourCalm]: 8,
}
const INTERNAL = 13

function statusOf({ failure, status, resetCode, far }: TalliedCall): number {
  if (failure !== undefined) return statusCodeOf(failure)
  if (status !== undefined) return status
  if (resetCode !== undefined) return STATUS_OF_CODE[resetCode] ?? INTERNAL
  return far.ended ? UNKNOWN : CANCELLED
}
