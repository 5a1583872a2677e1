import { HsuError } from '../../base/error.ts'
import type { Caller, Miss, RoutedCall, Target } from '../target.ts'
import type { Field } from '../h2/field.ts'
import type { FieldList } from '../h2/field-list.ts'
import type { CallLimits } from '../router/call-limits.ts'
import type { CallCounter } from '../router/call-metrics.ts'
import { ErrorCode, MAX_FRAME_BYTES } from '../h2/protocol.ts'
import { areTrailers, CallHead } from './call-head.ts'
import { type KeptBytes, KeptRequest } from './kept-bytes.ts'
import { failureFields } from './own-answer.ts'
import { answerShape, passableFields, pushbackOf } from './response-fields.ts'
import { type Piece, Side, type SideCall, type SideConnection } from './side.ts'

/** The gRPC status of a unit that cannot take calls now. */
const UNAVAILABLE = 14

const NOBODY: Caller = { nodeId: undefined, fingerprint: undefined }

/** What a call needs of whoever brings it to its unit. */
export interface CallDelivery {
  /** Requests that may be sent again. */
  readonly kept: KeptBytes
  /** Room for fields that are about to be passed on. */
  readonly passable: Field[]
  /** Its target did not take it: another one may. */
  missed(call: Call, miss: Miss): void
  /** It has left its unit. */
  left(call: Call): void
  over(call: Call): void
  /** The answer is complete and its caller still sends. */
  linger(call: Call): void
  refusal(call: Call): HsuError
  /** Its unit has answered it with this status, or, when that is undefined, will never answer. */
  ended(call: Call, status: number | undefined): void
  /** Whether it may go to another unit although one may have seen it. */
  mayRepeat(call: Call): boolean
}

/** Several attempts of one call at the same time. */
export interface Race {
  /** The first block of an answer, which is no interim one, has come to an attempt. True when it is that of the call, and stays so. */
  answered(attempt: Call, list: FieldList, end: boolean): boolean
  /** The unit has reset an attempt. True as above. */
  reset(attempt: Call, code: number): boolean
  /** An attempt came to nothing. True when that was dealt with. */
  missed(attempt: Call, miss: Miss): boolean
  /** No attempt matters any more. */
  end(): void
}

/** A call between its caller and the unit that takes it: whatever one of them sends goes on to the other, frame by frame. */
export class Call implements RoutedCall, SideCall {
  /** For a head that is like no other. */
  readonly ownHead = new CallHead()
  head = this.ownHead
  readonly near: Side = new Side(this, true)
  far: Side = new Side(this, false)
  readonly kept = new KeptRequest()
  caller: Caller = NOBODY
  delivery!: CallDelivery
  trail: object | undefined
  /** Where it has been sent, or is to be sent. */
  target: Target | undefined
  calledAtMs = 0
  /** An answer has begun. */
  answered = false
  /** Nobody but this call knows of it: it can be used for another one afterwards. */
  plain = true
  over = false
  limits: CallLimits | undefined
  counter: CallCounter | undefined
  requestBytes = 0
  responseBytes = 0
  status: number | undefined
  failure: HsuError | undefined
  resetCode: number | undefined
  held = false
  attempts = 0
  /** The answer of a unit after which another one is tried: that of the call when there is none. */
  spare: readonly Field[] | undefined
  /** While several attempts of it run. */
  race: Race | undefined
  /** The instance whose calls in flight it is counted among. */
  counted: string | undefined
  #gone: AbortController | undefined

  /** Aborts when nobody waits for an answer any more. */
  get signal(): AbortSignal {
    this.plain = false
    this.#gone ??= new AbortController()
    return this.#gone.signal
  }

  /** Makes a call that is over, and that nobody else knows of, ready for the next one. */
  recycle(): void {
    this.near.reset()
    this.far.reset()
    this.kept.reset()
    this.trail = undefined
    this.target = undefined
    this.limits = undefined
    this.counter = undefined
    this.requestBytes = 0
    this.responseBytes = 0
    this.status = undefined
    this.failure = undefined
    this.resetCode = undefined
    this.held = false
    this.attempts = 0
    this.spare = undefined
    this.race = undefined
    this.answered = false
    this.over = false
  }

  onData(from: Side, bytes: Buffer, at: number, size: number, cost: number, end: boolean): void {
    if (from.lengthLeft >= 0) {
      from.lengthLeft -= size
      if (from.lengthLeft < 0 || (end && from.lengthLeft > 0)) {
        from.connection?.windows.passed(cost)
        from.connection?.endSide(from, ErrorCode.protocol)
        return
      }
    }
    if (!from.near && this.race !== undefined) {
      from.connection?.windows.passed(cost)
      from.connection?.endSide(from, ErrorCode.protocol)
      return
    }
    if (end) from.ended = true
    const to = from.near ? this.far : this.near
    if (from.near) this.requestBytes += size
    else this.responseBytes += size
    if (from.near) {
      if (to.ended) {
        this.#discard(cost)
        return
      }
      if (this.kept.whole && size > 0) this.kept.add(this.delivery.kept, bytes, at, size)
    }
    const { connection } = to
    if (
      connection !== undefined &&
      to.queue === undefined &&
      size <= to.sendWindow &&
      size <= connection.sendWindow &&
      !connection.output.blocked
    ) {
      if (size > 0 || end) connection.sendData(to, bytes, at, size, end)
      from.connection?.windows.passed(cost)
      from.credit(cost)
      if (end) this.#tell(to)
    } else {
      from.connection?.windows.hold(cost)
      this.#enqueue(to, { bytes: Buffer.from(bytes.subarray(at, at + size)), fields: undefined, sent: 0, cost, end })
      // What fits the window goes now.
      if (to.queue?.length === 1) this.pump(to)
    }
  }

  /** What still comes for a call that has its answer. */
  #discard(cost: number): void {
    const { near } = this
    near.connection?.windows.passed(cost)
    near.credit(cost)
    this.#settle()
  }

  onRequestTrailers({ fields, count }: FieldList, end: boolean): void {
    const { near, far } = this
    if (near.ended || !end || !areTrailers(fields, count)) {
      near.connection?.endSide(near, near.ended ? ErrorCode.streamClosed : ErrorCode.protocol)
      return
    }
    near.ended = true
    this.kept.whole = false
    if (far.ended) this.#settle()
    else this.#sendFields(far, fields, count, true)
  }

  onResponse(list: FieldList, end: boolean): void {
    const { near, far } = this
    const first = !this.answered
    const { begins, interim, soundHead, soundTrailers, grpcStatus } = answerShape(list)
    if (first ? !begins || (interim && end) : !end) {
      far.connection?.endSide(far, ErrorCode.protocol)
      return
    }
    if (first && this.race !== undefined && (interim || !this.race.answered(this, list, end))) return
    if (end) {
      this.status = grpcStatus
      this.delivery.ended(this, grpcStatus)
      if (first && grpcStatus === UNAVAILABLE && this.kept.whole && this.#repeat(list)) return
    }
    if (!first || !interim) {
      this.answered = true
      this.kept.whole = false
    }
    if (end) far.ended = true
    const { connection } = near
    if (connection !== undefined && near.queue === undefined && list.lasting && (first ? soundHead : soundTrailers)) {
      connection.writer.list(near.id, list, end)
      if (end) near.told = true
    } else if (connection !== undefined) {
      const { passable } = this.delivery
      this.#sendFields(near, passable, passableFields(list, first, passable), end)
    }
    if (end) this.#settle()
  }

  /** Tries another unit when that is allowed; what this one said is the answer if none takes the call. */
  #repeat(list: FieldList): boolean {
    const { far } = this
    const pushback = pushbackOf(list)
    if (pushback === 'never' || !this.delivery.mayRepeat(this)) return false
    const spare: Field[] = []
    passableFields(list, true, spare)
    this.spare = spare.map((field) => field.own())
    if (!far.told) far.connection?.writer.reset(far.id, ErrorCode.cancel)
    this.leave()
    this.delivery.missed(this, { kind: 'failed', error: this.delivery.refusal(this), pushbackMs: pushback })
    return true
  }

  /** Ends the call with what a unit said that could not take it. */
  answerSpare(spare: readonly Field[], status: number | undefined): void {
    const { near, far } = this
    if (this.over) return
    far.ended = true
    this.answered = true
    this.status = status
    if (near.connection !== undefined) this.#sendFields(near, spare, spare.length, true)
    this.#settle()
  }

  onReset(side: Side, code: number): void {
    if (side.near) {
      this.cancel()
      return
    }
    const refused = code === ErrorCode.refusedStream && !this.answered
    if (!refused && this.race !== undefined && !this.race.reset(this, code)) return
    if (!refused && !this.answered) this.delivery.ended(this, undefined)
    this.leave()
    if (refused) this.missed({ kind: 'refused', error: this.delivery.refusal(this) })
    else if (code === ErrorCode.none) this.lost()
    else this.resetNear(code)
  }

  /** The caller is gone: its unit is told, and nobody else. */
  cancel(): void {
    if (this.far.connection !== undefined && !(this.far.ended && this.far.told)) {
      this.far.connection.writer.reset(this.far.id, ErrorCode.cancel)
    }
    this.#finish()
  }

  onLost(processed: boolean): void {
    if (processed) this.delivery.ended(this, undefined)
    const again = processed && !this.answered && this.kept.whole && this.#mayRepeat()
    this.leave()
    if (again) this.missed({ kind: 'failed', error: connectionLost() })
    else if (processed || this.answered) this.lost()
    else this.missed({ kind: 'refused', error: this.delivery.refusal(this) })
  }

  #mayRepeat(): boolean {
    return this.race !== undefined || this.delivery.mayRepeat(this)
  }

  /** Its target did not take it. */
  missed(miss: Miss): void {
    if (this.race?.missed(this, miss) !== true) this.delivery.missed(this, miss)
  }

  lost(): void {
    this.fail(connectionLost())
  }

  resetNear(code: number): void {
    this.resetCode = code
    this.near.connection?.resetId(this.near.id, code)
    this.#finish()
  }

  /** Ends the call with an error of our own, after what has come of its answer. */
  fail(error: HsuError): void {
    const { near, far } = this
    if (this.over) return
    this.race?.end()
    this.failure = error
    if (far.connection !== undefined) far.connection.writer.reset(far.id, ErrorCode.cancel)
    this.leave()
    this.#drop(far)
    far.ended = true
    const fields = failureFields(error, !this.answered, this.head.grpc)
    this.answered = true
    if (near.connection !== undefined) this.#sendFields(near, fields, fields.length, true)
    this.#settle()
  }

  /** Begins a stream to the unit. What of the request has come goes there after its fields, which are to be sent next. */
  open(connection: SideConnection, id: number): boolean {
    this.far.open(connection, id)
    return this.near.ended && this.far.queue === undefined
  }

  /** The fields have been sent; `alone` when they are all there is. */
  opened(alone: boolean): void {
    if (alone) this.far.told = true
    else if (this.far.queue !== undefined) this.pump(this.far)
  }

  /** Leaves the unit: nothing more is expected from there. */
  leave(): void {
    if (this.far.connection === undefined) return
    this.far.close()
    this.delivery.left(this)
  }

  /** Leaves the unit in the middle of the call. */
  leaveUnfinished(): void {
    const { far } = this
    if (far.connection !== undefined && !(far.ended && far.told)) far.connection.writer.reset(far.id, ErrorCode.cancel)
    this.leave()
    this.#drop(far)
  }

  /** Makes this a further attempt of a call, of whose request all parts are there. Nobody waits for its answer but the race it is in. */
  follow({ head, caller, calledAtMs, trail }: Call, delivery: CallDelivery, parts: readonly Buffer[]): void {
    this.delivery = delivery
    this.head = head
    this.caller = caller
    this.calledAtMs = calledAtMs
    this.trail = trail
    this.plain = false
    this.near.ended = true
    this.#queue(parts)
  }

  /** Goes on with the stream of another attempt, which gets that of this one. */
  exchange(other: Call): void {
    const { far, target, counted } = this
    this.far = other.far
    this.target = other.target
    this.counted = other.counted
    other.far = far
    other.target = target
    other.counted = counted
    this.far.call = this
    far.call = other
  }

  /** Makes the request ready to be sent again from its beginning; false when it is not all there. */
  rewind(): boolean {
    const { far } = this
    const parts = this.kept.parts(this.delivery.kept)
    if (parts === undefined) return false
    this.plain = false
    this.#drop(far)
    far.reset()
    this.#queue(parts)
    return true
  }

  #queue(parts: readonly Buffer[]): void {
    if (parts.length === 0) return
    this.far.queue = parts.map((bytes, at) => ({
      ...{ bytes, fields: undefined, sent: 0, cost: 0 },
      end: this.near.ended && at === parts.length - 1,
    }))
  }

  pump(to: Side, maxPieces = Number.POSITIVE_INFINITY): boolean {
    const { queue, connection } = to
    if (queue === undefined || connection === undefined) return false
    let sent = 0
    while (sent < maxPieces) {
      const [piece] = queue
      if (piece === undefined || !this.#sendPiece(to, connection, piece)) break
      sent += 1
      if (piece.bytes !== undefined && piece.sent < piece.bytes.length) continue
      queue.shift()
      if (queue.length === 0) to.queue = undefined
      if (piece.end) this.#tell(to)
      if (to.connection === undefined || to.queue === undefined) return true
    }
    connection.stall(to)
    return sent > 0
  }

  /** False when not even a part of it can be sent now. */
  #sendPiece(to: Side, connection: SideConnection, piece: Piece): boolean {
    const { bytes, fields } = piece
    if (fields !== undefined) {
      connection.writer.headers(to.id, fields, fields.length, piece.end)
      return true
    }
    if (bytes === undefined || connection.output.blocked) return false
    const left = bytes.length - piece.sent
    const size = Math.min(left, to.sendWindow, connection.sendWindow, MAX_FRAME_BYTES)
    if (size <= 0 && left > 0) return false
    connection.sendData(to, bytes, piece.sent, size, piece.end && size === left)
    piece.sent += size
    const cost = size === left ? piece.cost : Math.min(size, piece.cost)
    piece.cost -= cost
    const from = to.near ? this.far : this.near
    from.source?.windows.release(cost)
    from.credit(cost)
    return true
  }

  #sendFields(to: Side, fields: readonly Field[], count: number, end: boolean): void {
    if (to.queue === undefined && to.connection !== undefined) {
      to.connection.writer.headers(to.id, fields, count, end)
      if (end) this.#tell(to)
      return
    }
    const owned = fields.slice(0, count).map((field) => field.own())
    this.#enqueue(to, { bytes: undefined, fields: owned, sent: 0, cost: 0, end })
  }

  #enqueue(to: Side, piece: Piece): void {
    this.plain = false
    to.queue ??= []
    to.queue.push(piece)
    if (to.connection !== undefined) to.connection.stall(to)
  }

  /** A side has been sent the last it gets. */
  #tell(to: Side): void {
    to.told = true
    if (to.near || this.far.ended) this.#settle()
  }

  /** Once the answer is complete, what of the request still comes is of no interest to anybody. */
  #settle(): void {
    const { near, far } = this
    if (far.ended && far.connection !== undefined) {
      if (!far.told) far.connection.writer.reset(far.id, ErrorCode.cancel)
      this.leave()
      this.#drop(far)
    }
    if (near.told) {
      if (!near.ended) near.connection?.resetId(near.id, ErrorCode.none)
      this.#finish()
    } else if (far.ended && !near.ended) {
      this.delivery.linger(this)
    }
  }

  #finish(): void {
    if (this.over) return
    this.over = true
    this.race?.end()
    const { near, far } = this
    this.leave()
    this.#drop(far)
    this.#drop(near)
    near.close()
    this.#gone?.abort(new HsuError('CANCELLED', 'the caller hung up'))
    this.delivery.over(this)
  }

  /** Throws away what waits for a side. */
  #drop(to: Side): void {
    if (to.queue === undefined) return
    const from = to.near ? this.far : this.near
    const cost = to.drop()
    from.source?.windows.release(cost)
    from.credit(cost)
  }
}

function connectionLost(): HsuError {
  return new HsuError('NO_ENDPOINT', 'the connection to the unit was lost while the call was under way')
}
