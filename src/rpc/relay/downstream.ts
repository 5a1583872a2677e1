import type { Socket } from 'node:net'
import type { FieldList } from '../h2/field-list.ts'
import { DEFAULT_WINDOW_BYTES, ErrorCode, MAX_STREAM_ID, PREFACE, Setting } from '../h2/protocol.ts'
import { HsuError } from '../../base/error.ts'
import { createResetGuard, type ResetGuard } from '../reset-guard.ts'
import type { Caller } from '../target.ts'
import { CallHead } from './call-head.ts'
import { type Fault, type FaultReason, reasonOfCode } from './fault.ts'
import { Connection } from './connection.ts'
import type { Delivery } from './delivery.ts'
import { MAX_LIST_BYTES } from './header-block.ts'
import { failureFields } from './own-answer.ts'
import { RecentIds } from './recent-ids.ts'
import type { Side } from './side.ts'
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from './windows.ts'

/** Calls at once on one connection. */
const MAX_CALLS_PER_CONNECTION = 1_000

/** What a connection tells the listener it came to. */
export interface DownstreamHost {
  /** A stream has begun, or is over. */
  callBegan(): void
  callOver(): void
  /** The connection, or a call of it, is ended for a fault of its own. `why` is undefined for a call. */
  fault(connection: Downstream, fault: Fault, why: string | undefined): void
  closed(connection: Downstream): void
}

/** A connection of a caller: a program of this host, or another node. */
export class Downstream extends Connection {
  readonly caller: Caller
  readonly acceptedAtMs: number
  readonly #delivery: Delivery
  readonly #host: DownstreamHost
  /** A node is trusted, and what its many callers do is not its doing. */
  readonly #guard: ResetGuard | undefined
  readonly #resets = new RecentIds()
  #preface = 0
  #lastId = 0
  /** Streams beyond it are not looked at; set by our own GOAWAY. */
  #lastTaken = MAX_STREAM_ID
  #draining = false
  /** Nothing new can come any more. */
  #last = false

  constructor(delivery: Delivery, caller: Caller, host: DownstreamHost) {
    super(delivery.loop, true)
    this.#delivery = delivery
    this.caller = caller
    this.#host = host
    this.#guard = caller.nodeId === undefined ? createResetGuard() : undefined
    this.acceptedAtMs = delivery.loop.clock.nowMs()
  }

  start(socket: Socket): void {
    this.begin(socket, false)
    this.writer.settings([
      [Setting.maxConcurrentStreams, MAX_CALLS_PER_CONNECTION],
      [Setting.initialWindowSize, STREAM_WINDOW_BYTES],
      [Setting.maxHeaderListSize, MAX_LIST_BYTES],
    ])
    this.writer.windowUpdate(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
  }

  /** Bytes that have come so far. */
  get bytesRead(): number {
    return this.socket?.bytesRead ?? 0
  }

  get from(): string | undefined {
    return this.socket?.remoteAddress
  }

  /** What is looked at every few seconds. False when its header block does not end. */
  swept(nowMs: number, maxBlockMs: number): boolean {
    this.budget.swept()
    return this.block.id === 0 || nowMs - this.block.sinceMs < maxBlockMs
  }

  /** Ends it at once, for a fault that it is not told. */
  expel(reason: FaultReason): void {
    this.#host.fault(this, { ends: 'connection', reason }, undefined)
    this.destroy()
  }

  /** Takes no new calls; closes after the last one. Calls that are on their way are still taken. */
  drain(): void {
    if (this.closed || this.#draining) return
    this.#draining = true
    this.writer.goaway(MAX_STREAM_ID, ErrorCode.none)
    if (!this.greeted) {
      this.destroy()
      return
    }
    // Once it has answered, what it sent before it knew has come.
    this.pings.ask(() => {
      this.#lastTaken = this.#lastId
      this.#last = true
      this.writer.goaway(this.#lastId, ErrorCode.none)
      this.#endWhenIdle()
    })
  }

  override sideClosed(): void {
    this.#host.callOver()
    this.#endWhenIdle()
  }

  protected override get lastId(): number {
    return this.#lastId
  }

  protected override frames(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (this.#preface < PREFACE.length && at < end) {
      if (bytes[at] !== PREFACE[this.#preface]) {
        this.fail(ErrorCode.protocol, 'it does not speak HTTP/2', 'not_http2')
        return end
      }
      this.#preface += 1
      at += 1
    }
    return super.frames(bytes, at, end)
  }

  protected override isIdle(id: number): boolean {
    return id > this.#lastId || (id & 1) === 0
  }

  protected override onFields(id: number, list: FieldList, end: boolean): void {
    const side = this.sides.get(id)
    if (side !== undefined) side.call.onRequestTrailers(list, end)
    else if (this.#isNew(id)) this.#call(id, list, end)
  }

  protected override onOversized(id: number, end: boolean): void {
    const side = this.sides.get(id)
    if (side !== undefined) {
      this.endSide(side, ErrorCode.enhanceYourCalm)
      return
    }
    if (!this.#isNew(id)) return
    this.#refused('header_bomb')
    const message = `the metadata of a call may have ${MAX_LIST_BYTES} bytes`
    const fields = failureFields(new HsuError('LIMIT_EXCEEDED', message), true, true)
    this.writer.headers(id, fields, fields.length, true)
    if (!end) this.resetId(id, ErrorCode.none)
  }

  protected override onSetting(): void {
    // What a caller allows us concerns what we never do.
  }

  protected override onGoaway(): void {
    this.#draining = true
    this.#last = true
    this.#endWhenIdle()
  }

  protected override onLateData(id: number): void {
    if (!this.#resets.has(id)) this.resetId(id, ErrorCode.streamClosed)
  }

  protected override onResetByUs(id: number): void {
    this.#resets.add(id)
  }

  protected override onClosed(): void {
    for (const side of this.sides.values()) side.call.cancel()
    this.#host.closed(this)
  }

  protected override onFault(reason: FaultReason, why: string): void {
    this.#host.fault(this, { ends: 'connection', reason }, why)
  }

  protected override onSideFault(code: number): void {
    this.#refused(code === ErrorCode.enhanceYourCalm ? 'header_bomb' : reasonOfCode(code))
  }

  protected override onPeerReset({ call }: Side): void {
    if (call.answered || this.#guard === undefined) return
    if (this.#guard.reset(this.loop.nowMs - call.calledAtMs)) {
      this.fail(ErrorCode.enhanceYourCalm, 'it opens calls only to reset them', 'rapid_reset')
    }
  }

  /** Whether a block opens a stream. What comes for a stream that was reset may have been under way; other blocks are faults. */
  #isNew(id: number): boolean {
    if ((id & 1) === 0) this.fail(ErrorCode.protocol, 'a stream with an even number')
    else if (id <= this.#lastId) {
      if (!this.#resets.has(id)) this.fail(ErrorCode.streamClosed, 'HEADERS on a stream that is over')
    } else {
      this.#lastId = id
      return id <= this.#lastTaken
    }
    return false
  }

  #call(id: number, list: FieldList, end: boolean): void {
    this.#guard?.opened()
    this.budget.earn()
    if (this.sides.size >= MAX_CALLS_PER_CONNECTION) {
      this.#refused('too_many_streams')
      this.resetId(id, ErrorCode.refusedStream)
      return
    }
    const call = this.#delivery.take()
    call.head = CallHead.of(list, call.ownHead)
    if (call.head.sound) {
      this.#host.callBegan()
      this.#delivery.begin(call, this, id, this.caller, end)
    } else {
      this.#delivery.giveBack(call)
      this.#refused('malformed_request')
      this.resetId(id, ErrorCode.protocol)
    }
  }

  #refused(reason: FaultReason): void {
    this.#host.fault(this, { ends: 'call', reason }, undefined)
  }

  #endWhenIdle(): void {
    if (!this.#last || this.sides.size > 0 || this.closed) return
    this.output.flush()
    this.socket?.end()
  }
}
