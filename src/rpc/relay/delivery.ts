import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { formatTimeout, parseTimeoutMs } from '../grpc-answer.ts'
import { type Field, makeField } from '../h2/field.ts'
import { Kind } from '../h2/field-kind.ts'
import { ErrorCode } from '../h2/protocol.ts'
import { Hedge, type HedgeSeams } from './hedge.ts'
import type { InFlight } from '../router/in-flight.ts'
import type { Caller, Miss, Router, Target } from '../target.ts'
import { Call, type CallDelivery } from './call.ts'
import type { SideConnection } from './side.ts'
import type { KeptBytes } from './kept-bytes.ts'
import type { RelayLoop } from './loop.ts'
import type { Upstream } from './upstream.ts'
import type { RelayUpstreams } from './upstreams.ts'
import type { Tally } from './tally.ts'
import { CallTimers } from './call-timers.ts'

/** What the calls of one listener need of their surroundings. */
export interface DeliverySeams {
  readonly clock: Clock
  readonly loop: RelayLoop
  readonly router: Router
  readonly upstreams: RelayUpstreams
  readonly inFlight: InFlight
  /**
   * What the caller gets for a call that certainly reached no unit: an answer in words, or REFUSED_STREAM,
   * by which another node knows that it may try elsewhere.
   */
  readonly whenUnreached: 'answer' | 'refuse'
  /** Counts the calls. */
  readonly tally?: Tally
}

/** The gRPC status of a unit that cannot take calls now. */
const UNAVAILABLE = 14

/** A deadline goes out as the caller wrote it while no more of it than this has passed. */
const UNTOLD_WAIT_MS = 10

/** Calls that are over and can be used again. */
const MAX_SPARE_CALLS = 4_096

/** For an answer to be taken whose request does not end. */
const LINGER_MS = 40_960

/** Brings calls to the units that take them: where to, again elsewhere when one was missed, and for how long. */
export class Delivery implements CallDelivery {
  readonly loop: RelayLoop
  readonly kept: KeptBytes
  readonly passable: Field[]
  readonly #seams: DeliverySeams
  readonly #timers: CallTimers
  readonly #hedges: HedgeSeams
  readonly #spare: Call[] = []

  constructor(seams: DeliverySeams) {
    this.#seams = seams
    this.loop = seams.loop
    this.passable = seams.loop.passable
    this.kept = seams.loop.kept
    this.#timers = new CallTimers(seams.clock)
    this.#hedges = this.#hedgeSeams()
  }

  /** A call whose head is still to be read. */
  take(): Call {
    const call = this.#spare.pop() ?? new Call()
    call.delivery = this
    return call
  }

  /** Gives back a call that came to nothing. */
  giveBack(call: Call): void {
    this.#spare.push(call)
  }

  /** Begins a call whose head was read. `fields` are its fields as they came, good until this returns. */
  begin(call: Call, near: SideConnection, id: number, caller: Caller, end: boolean): void {
    call.caller = caller
    call.calledAtMs = this.loop.nowMs
    call.near.open(near, id)
    call.near.ended = end
    call.near.lengthLeft = call.head.contentLength
    if (end && call.head.contentLength > 0) near.endSide(call.near, ErrorCode.protocol)
    else this.#next(call, undefined)
  }

  /** A target did not take the call: another one may. */
  missed(call: Call, miss: Miss): void {
    this.#uncount(call)
    if (call.over) return
    call.status = undefined
    if (call.rewind()) this.#next(call, miss)
    else this.#unreached(call, miss.error)
  }

  /** The call has left its unit. */
  left(call: Call): void {
    this.loop.calls -= 1
    this.#uncount(call)
  }

  ended(call: Call, status: number | undefined): void {
    this.#seams.router.ended?.(call, status === undefined || status === UNAVAILABLE ? 'failed' : 'answered')
  }

  mayRepeat(call: Call): boolean {
    return this.#seams.router.mayRepeat?.(call) === true
  }

  over(call: Call): void {
    this.#uncount(call)
    this.#seams.tally?.over(call)
    call.limits?.left()
    call.limits = undefined
    if (!call.plain) {
      this.#timers.end(call)
      this.#seams.upstreams.forget(call)
      return
    }
    call.recycle()
    if (this.#spare.length < MAX_SPARE_CALLS) this.#spare.push(call)
  }

  /** The answer is complete and the caller still sends: it is cut off when it does not take the answer. */
  linger(call: Call): void {
    call.plain = false
    this.#timers.start(call, 'linger', LINGER_MS, () => call.resetNear(ErrorCode.cancel))
  }

  refusal({ target }: Call): HsuError {
    const { label = 'nobody', instance } = target ?? {}
    return new HsuError('NO_ENDPOINT', `${label} did not take the call`, {
      details: instance === undefined ? {} : { instance },
    })
  }

  #next(call: Call, miss: Miss | undefined): void {
    try {
      const target = this.#seams.router.next(call, miss)
      if (target instanceof Promise) this.#hold(call, target, miss)
      else this.#go(call, target, miss)
    } catch (thrown) {
      this.#answer(call, HsuError.from(thrown))
    }
  }

  #hold(call: Call, coming: Promise<Target | undefined>, miss: Miss | undefined): void {
    call.plain = false
    if (miss === undefined) call.held = true
    this.#untilDeadline(call)
    coming.then(
      (target) => {
        if (call.over || call.far.ended) return
        this.#timers.end(call)
        this.#go(call, target, miss)
      },
      (thrown: unknown) => this.#answer(call, HsuError.from(thrown)),
    )
  }

  #go(call: Call, target: Target | undefined, miss: Miss | undefined): void {
    if (target === undefined) {
      this.#unreached(call, miss?.error ?? this.refusal(call))
      return
    }
    this.#seams.tally?.sent(call, target, miss !== undefined)
    this.#send(call, target)
  }

  #send(call: Call, target: Target): void {
    call.target = target
    if (target.instance !== undefined) this.#seams.inFlight.add(target.instance, 1)
    call.counted = target.instance
    const upstream = this.#seams.upstreams.free(target)
    if (upstream !== undefined) {
      this.#open(call, upstream)
      return
    }
    call.plain = false
    this.#untilDeadline(call)
    this.#seams.upstreams.wait(call, target, {
      reached: (found) => {
        this.#timers.end(call)
        this.#open(call, found)
      },
      unreachable: (error) => call.missed({ kind: 'unreachable', error }),
    })
  }

  #open(call: Call, upstream: Upstream): void {
    const { target, head } = call
    if (target === undefined) return
    this.loop.calls += 1
    const timeout = this.#timeout(call, target)
    const id = upstream.nextStreamId()
    const alone = call.open(upstream, id)
    if (head.list !== undefined && timeout === head.timeoutField) {
      upstream.writer.list(id, head.list, alone, head.steered ? isRouting : undefined, target.add)
    } else {
      const { passable } = this
      let count = 0
      for (let at = 0; at < head.count; at += 1) {
        const field = head.fields[at]
        if (field !== undefined && !isRouting(field) && field !== head.timeoutField) passable[count++] = field
      }
      if (timeout !== undefined) passable[count++] = timeout
      for (const field of target.add) passable[count++] = field
      upstream.writer.headers(id, passable, count, alone)
    }
    call.opened(alone)
    if (target.hedging !== undefined && call.race === undefined) {
      new Hedge(this.#hedges, target.hedging, call).begin()
    }
  }

  /** What the unit is told of the time it has. */
  #timeout(call: Call, { timeoutMs }: Target): Field | undefined {
    const { timeoutField } = call.head
    const waitedMs = call.plain ? 0 : this.#seams.clock.nowMs() - call.calledAtMs
    if (timeoutField === undefined) {
      if (timeoutMs === undefined) return undefined
      const leftMs = call.trail === undefined ? timeoutMs : Math.max(1, timeoutMs - waitedMs)
      if (call.near.connection !== undefined) this.#untilRoute(call, timeoutMs, leftMs)
      return makeField('grpc-timeout', formatTimeout(leftMs))
    }
    const wholeMs = parseTimeoutMs(timeoutField.value)
    if (wholeMs === undefined || waitedMs <= UNTOLD_WAIT_MS) return timeoutField
    return makeField('grpc-timeout', formatTimeout(wholeMs - waitedMs))
  }

  #untilRoute(call: Call, timeoutMs: number, leftMs: number): void {
    call.plain = false
    this.#timers.start(call, 'route', leftMs, () =>
      call.fail(new HsuError('TIMED_OUT', `no answer within the ${timeoutMs} ms of the unit's route`)),
    )
  }

  /** A call waits no longer than its caller does. */
  #untilDeadline(call: Call): void {
    const { timeoutField } = call.head
    // A further attempt has no caller, and ends with the first one.
    if (call.near.connection === undefined) return
    const wholeMs = timeoutField === undefined ? undefined : parseTimeoutMs(timeoutField.value)
    if (wholeMs === undefined) return
    const leftMs = Math.max(0, wholeMs - (this.#seams.clock.nowMs() - call.calledAtMs))
    this.#timers.start(call, 'deadline', leftMs, () => {
      this.#seams.upstreams.forget(call)
      call.fail(new HsuError('TIMED_OUT', 'the deadline passed before the call could be sent to a unit'))
      this.#uncount(call)
    })
  }

  #unreached(call: Call, error: HsuError): void {
    if (call.spare !== undefined) call.answerSpare(call.spare, UNAVAILABLE)
    else if (this.#seams.whenUnreached === 'refuse') call.resetNear(ErrorCode.refusedStream)
    else call.fail(error)
  }

  #answer(call: Call, error: HsuError): void {
    if (call.over) return
    if (error.reason === 'NO_ENDPOINT') this.#unreached(call, error)
    else call.fail(error)
  }

  #hedgeSeams(): HedgeSeams {
    const { router, tally } = this.#seams
    const nothing = (): void => undefined
    return {
      timers: this.#timers,
      delivery: {
        kept: this.kept,
        passable: this.passable,
        missed: nothing,
        left: (attempt) => this.left(attempt),
        over: (attempt) => {
          this.#uncount(attempt)
          this.#seams.upstreams.forget(attempt)
        },
        linger: nothing,
        refusal: (attempt) => this.refusal(attempt),
        ended: (attempt, status) => this.ended(attempt, status),
        mayRepeat: () => false,
      },
      forget: (call) => this.#seams.upstreams.forget(call),
      another: (call) => router.hedge?.(call),
      send: (call, attempt, target) => {
        tally?.sent(call, target, true)
        this.#send(attempt, target)
      },
    }
  }

  #uncount(call: Call): void {
    if (call.counted !== undefined) this.#seams.inFlight.add(call.counted, -1)
    call.counted = undefined
  }
}

function isRouting({ kind }: Field): boolean {
  return kind === Kind.routing
}
