import type { Socket } from 'node:net'
import { lengthAt } from '../h2/frame.ts'
import { ErrorCode, FRAME_HEAD_BYTES, MAX_FRAME_BYTES } from '../h2/protocol.ts'
import { READ_BYTES } from './arena.ts'
import { FrameWriter } from './frame-writer.ts'
import { type FaultReason, reasonOfCode } from './fault.ts'
import type { RelayLoop } from './loop.ts'
import { Output } from './output.ts'
import { Pings } from './pings.ts'

/** Reads up to this size are put behind what is left of the last; larger ones are taken where they are. */
const GATHER_BYTES = 8_192

/** A socket that carries frames: bytes come in and are cut into frames, frames go out; and how it ends. */
export abstract class Wire {
  readonly output: Output
  readonly writer: FrameWriter
  readonly pings: Pings
  closed = false
  protected readonly loop: RelayLoop
  protected socket: Socket | undefined
  /** The beginning of a frame whose rest has not come. */
  #left: Buffer | undefined
  readonly #closings: (() => void)[] = []

  /** `keepsLists`: it sends what comes from few to one of many. */
  constructor(loop: RelayLoop, keepsLists: boolean) {
    this.loop = loop
    this.output = new Output(loop, {
      onDrain: () => this.onDrain(),
      beforeFlush: () => this.pings.release(),
      onAbandon: () => this.onFault('slow_reader', 'it does not take what it is sent'),
    })
    this.writer = new FrameWriter(this.output, keepsLists)
    this.pings = new Pings(loop, this.writer)
  }

  /** A whole frame: its head is at `at`, and `length` bytes follow the head. */
  protected abstract onFrame(bytes: Buffer, at: number, length: number): void
  /** Messages may be sent again. */
  protected abstract onDrain(): void
  protected abstract onClosed(): void
  /** Counts and tells why the connection is ended. */
  protected abstract onFault(reason: FaultReason, why: string): void
  /** The last stream of the other side that we have looked at. */
  protected abstract get lastId(): number

  /** Reads from a socket that is connected. With `shared`, the socket reads into the arena by itself. */
  protected begin(socket: Socket, shared: boolean): void {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('error', ignore)
    socket.once('close', () => this.close())
    socket.once('end', () => socket.destroySoon())
    if (!shared) socket.on('data', (chunk: Buffer) => this.take(chunk))
    this.output.attach(socket)
  }

  /** What was read into the arena. */
  takeShared(bytes: number): void {
    const { arena } = this.loop
    this.#read(arena.bytes, arena.readAt, arena.readAt + bytes)
  }

  protected take(chunk: Buffer): void {
    if (chunk.length > GATHER_BYTES && this.#left === undefined) {
      this.#read(chunk, 0, chunk.length)
      return
    }
    const { arena } = this.loop
    if (chunk.length <= GATHER_BYTES) {
      arena.bytes.set(chunk, arena.readAt)
      this.#read(arena.bytes, arena.readAt, arena.readAt + chunk.length)
      return
    }
    for (let from = 0; from < chunk.length && !this.closed; from += READ_BYTES) {
      const bytes = Math.min(READ_BYTES, chunk.length - from)
      chunk.copy(arena.bytes, arena.readAt, from, from + bytes)
      this.#read(arena.bytes, arena.readAt, arena.readAt + bytes)
    }
  }

  onceClosed(task: () => void): void {
    if (this.closed) task()
    else this.#closings.push(task)
  }

  /** Ends the connection, telling the other side why. */
  fail(code: number, why: string, reason: FaultReason = reasonOfCode(code)): void {
    if (this.closed) return
    this.onFault(reason, why)
    this.writer.goaway(this.lastId, code)
    this.output.flush()
    this.socket?.destroySoon()
    this.close()
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.socket?.destroy()
    this.close()
  }

  protected close(): void {
    if (this.closed) return
    this.closed = true
    this.#left = undefined
    this.pings.close()
    this.output.close()
    this.onClosed()
    for (const task of this.#closings.splice(0)) task()
  }

  #read(bytes: Buffer, start: number, end: number): void {
    if (this.closed) return
    this.loop.beginRead()
    try {
      const left = this.#left
      let at = start
      if (left !== undefined) {
        // Only the arena has room before what was read.
        at -= left.length
        bytes.set(left, at)
        this.#left = undefined
      }
      const next = this.frames(bytes, at, end)
      if (next < end) this.#keep(bytes, next, end)
    } catch (error) {
      this.fail(ErrorCode.internal, `a fault of ours: ${String(error)}`)
    } finally {
      this.loop.endRead()
    }
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    if (!this.closed) this.#left = Buffer.from(bytes.subarray(start, end))
  }

  /** Takes whole frames; returns where the rest begins. */
  protected frames(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (end - at >= FRAME_HEAD_BYTES) {
      const length = lengthAt(bytes, at)
      if (length > MAX_FRAME_BYTES) {
        this.fail(ErrorCode.frameSize, 'a frame is too long')
        break
      }
      const next = at + FRAME_HEAD_BYTES + length
      if (next > end) break
      this.onFrame(bytes, at, length)
      if (this.closed) break
      at = next
    }
    return at
  }
}

function ignore(): void {
  // The 'close' that follows is what counts.
}
