import type { Field } from '../h2/field.ts'
import type { FieldList } from '../h2/field-list.ts'
import type { FrameWriter } from './frame-writer.ts'
import type { SlotTable } from './slot-table.ts'
import { STREAM_WINDOW_BYTES, type Windows } from './windows.ts'

/** A connection as far as the sides on it use it. */
export interface SideConnection {
  readonly sides: SlotTable<Side>
  readonly writer: FrameWriter
  readonly windows: Windows
  readonly output: { readonly blocked: boolean }
  /** What may be sent on the connection, and on a stream at first. */
  readonly sendWindow: number
  readonly peerStreamWindow: number
  /** Sends part of a message to a side, which has the windows for it. */
  sendData(side: Side, bytes: Buffer, at: number, size: number, end: boolean): void
  /** Resets a stream for faults of others. */
  resetId(id: number, code: number): void
  /** Resets the stream of a side for a fault of its own. */
  endSide(side: Side, code: number): void
  /** The side has something to be sent and could not send it. */
  stall(side: Side): void
  unstall(side: Side): void
  /** A stream is over. */
  sideClosed(): void
}

/** A call as far as the connections of its sides use it. */
export interface SideCall {
  readonly answered: boolean
  /** When it came, by the clock's `nowMs`. */
  readonly calledAtMs: number
  /** A part of a message has come from one side. `cost` is what it takes of the windows of its sender. */
  onData(from: Side, bytes: Buffer, at: number, size: number, cost: number, end: boolean): void
  /** The end of a request that has trailers. */
  onRequestTrailers(list: FieldList, end: boolean): void
  /** A block of the unit's answer: interim, first or last. */
  onResponse(list: FieldList, end: boolean): void
  /** A side was reset, by itself or for its own faults. */
  onReset(side: Side, code: number): void
  /** The connection to the unit is gone. `processed` is false when the unit certainly did not look at the call. */
  onLost(processed: boolean): void
  /** The caller is gone. */
  cancel(): void
  /** Sends what waits for a side, as far as that takes it, or the first pieces of it; true when anything was sent. */
  pump(to: Side, maxPieces?: number): boolean
}

/** What waits to be sent: a part of a message, or a block of fields. */
export interface Piece {
  /** Undefined for a block. */
  readonly bytes: Buffer | undefined
  readonly fields: readonly Field[] | undefined
  /** What of `bytes` has been sent. */
  sent: number
  /** Bytes that whoever sent them may send again once this has left. */
  cost: number
  readonly end: boolean
}

/** One end of a call: the stream of its caller, the near one, or that of its unit, the far one. */
export class Side {
  /** Another one once it is decided which of several attempts goes on. */
  call: SideCall
  readonly near: boolean
  /** Undefined before there is a stream, and after. */
  connection: SideConnection | undefined
  /** The last connection it had, whose window what it sent takes until it has gone on. */
  source: SideConnection | undefined
  id = 0
  /** What may be sent to it. */
  sendWindow = 0
  /** What it may send. */
  receiveWindow = 0
  /** What it has sent and may send again, which is told in large steps. */
  owed = 0
  /** It has said all it has to say. */
  ended = false
  /** It has been told all there is to tell. */
  told = false
  /** What waits to be sent to it. */
  queue: Piece[] | undefined
  /** It waits among the others of its connection. */
  stalled = false
  /** Bytes of messages that are still to come; -1 when it has not said how many. */
  lengthLeft = -1

  constructor(call: SideCall, near: boolean) {
    this.call = call
    this.near = near
  }

  open(connection: SideConnection, id: number): void {
    this.connection = connection
    this.source = connection
    this.id = id
    this.sendWindow = connection.peerStreamWindow
    this.receiveWindow = STREAM_WINDOW_BYTES
    this.owed = 0
    connection.sides.set(id, this)
  }

  /** Leaves its connection. */
  close(): void {
    const { connection } = this
    if (connection === undefined) return
    this.connection = undefined
    connection.sides.delete(this.id)
    if (this.stalled) connection.unstall(this)
    connection.sideClosed()
  }

  /** So many bytes that it sent have gone on, or were thrown away: it may send as many again. */
  credit(bytes: number): void {
    const { connection } = this
    if (connection === undefined || this.ended) return
    this.owed += bytes
    if (this.owed < STREAM_WINDOW_BYTES / 2) return
    connection.writer.windowUpdate(this.id, this.owed)
    this.receiveWindow += this.owed
    this.owed = 0
  }

  /** Throws away what waits to be sent to it; returns what that has cost its sender. */
  drop(): number {
    let cost = 0
    for (const piece of this.queue ?? []) cost += piece.cost
    this.queue = undefined
    return cost
  }

  reset(): void {
    this.connection = undefined
    this.source = undefined
    this.id = 0
    this.owed = 0
    this.ended = false
    this.told = false
    this.queue = undefined
    this.stalled = false
    this.lengthLeft = -1
  }
}
