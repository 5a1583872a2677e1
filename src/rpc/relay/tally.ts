import type { Clock } from '../../base/clock.ts'
import type { HsuError } from '../../base/error.ts'
import { ErrorCode } from '../h2/protocol.ts'
import type { CallCounter, CallDoor, CallMetrics } from '../router/call-metrics.ts'
import { statusCodeOf } from '../status-text.ts'
import type { CallTap } from '../router/call-watch.ts'
import type { EndedCall } from '../router/ended-call.ts'
import type { Caller, Target } from '../target.ts'
import type { CallHead } from './call-head.ts'

/** A call as far as it is counted. */
export interface TalliedCall {
  readonly head: Pick<CallHead, 'path' | 'counter' | 'text'>
  readonly caller: Caller
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
  /** Times it was sent to an instance. */
  attempts: number
}

/** What counting takes of its surroundings. */
export interface TallySeams {
  readonly clock: Clock
  readonly metrics: CallMetrics
  /** For whoever wants to see the calls themselves. */
  readonly tap?: CallTap
}

/** Counts the calls of one door. */
export class Tally {
  readonly #seams: TallySeams
  readonly #door: CallDoor

  constructor(seams: TallySeams, door: CallDoor) {
    this.#seams = seams
    this.#door = door
  }

  /** It goes to a target: the first one, another after a miss, or one more at the same time. */
  sent(call: TalliedCall, { unit }: Target, isRetry: boolean): void {
    if (unit === undefined) return
    call.attempts += 1
    if (call.counter === undefined) {
      const counter = this.#counterOf(call.head, unit)
      counter.inFlight += 1
      if (call.held) counter.held += 1
      call.counter = counter
    }
    if (isRetry) call.counter.retries += 1
  }

  over(call: TalliedCall): void {
    const { target, requestBytes, responseBytes } = call
    // What goes to the control API is no call to a unit.
    if (target !== undefined && target.unit === undefined) return
    const counter = call.counter ?? this.#refused(call)
    if (call.counter !== undefined) counter.inFlight -= 1
    const status = statusOf(call)
    const tookMs = Math.max(0, this.#seams.clock.nowMs() - call.calledAtMs)
    counter.requestBytes += requestBytes
    counter.responseBytes += responseBytes
    counter.ended(status, tookMs)
    const { tap } = this.#seams
    if (tap?.interest !== undefined) this.#show(tap, call, { unit: counter.unit, status, tookMs })
  }

  #show(tap: CallTap, call: TalliedCall, ended: Pick<EndedCall, 'unit' | 'status' | 'tookMs'>): void {
    const { head, caller, target, failure, requestBytes, responseBytes, attempts, held } = call
    tap.add({
      ...ended,
      door: this.#door,
      path: head.path,
      instance: target?.instance ?? '',
      servedBy: target?.to.kind === 'link' ? target.to.link.nodeId : '',
      peer: caller.nodeId ?? caller.address ?? '',
      reason: failure?.reason ?? '',
      endedAtMs: this.#seams.clock.wallMs(),
      ...{ requestBytes, responseBytes, attempts, held },
      traceparent: head.text('traceparent') ?? '',
    })
  }

  /** A call that went nowhere. */
  #refused({ head, failure }: TalliedCall): CallCounter {
    const unit = failure?.reason === 'OVERLOADED' ? String(failure.details['unit']) : ''
    const counter = this.#seams.metrics.counter(this.#door, unit, head.path)
    if (unit !== '') counter.rejected += 1
    return counter
  }

  /** Calls that look the same have one head, on which it is remembered. */
  #counterOf(head: TalliedCall['head'], unit: string): CallCounter {
    const known = head.counter
    if (known !== undefined && known.unit === unit && known.door === this.#door) return known
    const counter = this.#seams.metrics.counter(this.#door, unit, head.path)
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
