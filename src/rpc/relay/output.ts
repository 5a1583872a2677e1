import type { Socket } from 'node:net'
import type { Arena } from './arena.ts'
import { SLAB_BYTES } from './arena.ts'
import type { RelayLoop, Written } from './loop.ts'

/** Unsent bytes at which a connection is sent no more messages; what it must be told besides goes on. */
const HIGH_BYTES = 262_144

/** What is written without waiting for the end of the turn. */
const EARLY_BYTES = 1_048_576

/** Nobody who takes what it is sent has that much waiting: the rest is answers to a flood. */
const MAX_UNSENT_BYTES = 4_194_304

export interface OutputHooks {
  /** Messages may be sent again. */
  readonly onDrain: () => void
  /** Something is about to be written: what can go with it may be added. */
  readonly beforeFlush: () => void
  /** The connection is about to be ended, because the other side does not take what it is sent. */
  readonly onAbandon: () => void
}

/** What a connection is sent: frames in slabs, written together once per turn. */
export class Output implements Written {
  readonly arena: Arena
  readonly #loop: RelayLoop
  readonly #hooks: OutputHooks
  #socket: Socket | undefined
  #slab = -1
  #used = 0
  /** Slabs that are full, and how much each holds. */
  #full: number[] = []
  #fullBytes = 0
  /** The same for what the socket has not taken yet. */
  #writing: number[] = []
  #writingBytes = 0
  #dirty = false
  #closed = false
  readonly #written = (): void => this.#afterWrite()

  constructor(loop: RelayLoop, hooks: OutputHooks) {
    this.#loop = loop
    this.arena = loop.arena
    this.#hooks = hooks
    loop.outputs.add(this)
  }

  attach(socket: Socket): void {
    this.#socket = socket
    socket.once('close', () => this.#release())
    if (this.#slab >= 0) this.#mark()
  }

  /** Bytes that have not left this process. */
  get unsent(): number {
    return this.#writingBytes + this.#fullBytes + this.#used
  }

  /** True while the other side takes less than it is sent. */
  get blocked(): boolean {
    if (this.#writing.length === 0) return false
    return this.unsent > HIGH_BYTES || this.arena.scarce
  }

  /** Where the next `bytes` go, at most a slab; they are sent once `wrote` was called. */
  reserve(bytes: number): number {
    if (this.unsent > MAX_UNSENT_BYTES) this.abandon()
    if (this.#closed) return this.arena.scratch
    if (this.#slab >= 0 && this.#used + bytes > SLAB_BYTES) {
      this.#fill()
      // Many reads may come before the turn is over.
      if (this.#fullBytes > EARLY_BYTES) this.flush()
    }
    if (this.#slab < 0) this.#slab = this.#loop.slab(this)
    if (!this.#dirty) this.#mark()
    return this.#slab + this.#used
  }

  wrote(bytes: number): void {
    if (!this.#closed) this.#used += bytes
  }

  /** Hands over to the socket what there is, unless it is still busy with the last. */
  flush(): void {
    const socket = this.#socket
    const idle = this.#slab < 0 && this.#full.length === 0
    if (idle || this.#writing.length > 0 || socket === undefined || this.#closed) {
      this.#dirty = false
      return
    }
    this.#hooks.beforeFlush()
    this.#dirty = false
    if (this.#slab >= 0) this.#fill()
    const slabs = this.#full
    this.#writing = slabs
    this.#writingBytes = this.#fullBytes
    this.#full = []
    this.#fullBytes = 0
    if (slabs.length > 2) socket.cork()
    for (let at = 0; at < slabs.length; at += 2) {
      const start = slabs[at] ?? 0
      socket.write(this.arena.bytes.subarray(start, start + (slabs[at + 1] ?? 0)), this.#written)
    }
    if (slabs.length > 2) socket.uncork()
    // Most writes are over by now.
    if (socket.writableLength === 0) this.#release()
  }

  /** Gives back what is left. Nothing is sent any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#loop.outputs.delete(this)
    if (this.#slab >= 0) this.arena.give(this.#slab)
    this.#slab = -1
    this.#used = 0
    for (let at = 0; at < this.#full.length; at += 2) this.arena.give(this.#full[at] ?? 0)
    this.#full = []
    this.#fullBytes = 0
    // What the socket holds is given back when it lets go of it.
  }

  /** Ends the connection in the middle of what it is sent. */
  abandon(): void {
    if (!this.#closed) this.#hooks.onAbandon()
    this.#socket?.destroy()
    this.close()
  }

  /** The slab that is being filled is full. */
  #fill(): void {
    this.#full.push(this.#slab, this.#used)
    this.#fullBytes += this.#used
    this.#slab = -1
    this.#used = 0
  }

  #mark(): void {
    this.#dirty = true
    this.#loop.mark(this)
  }

  #afterWrite(): void {
    if (this.#writing.length === 0 || (this.#socket?.writableLength ?? 0) > 0) return
    this.#release()
    if (this.#closed) return
    this.flush()
    if (!this.blocked) this.#hooks.onDrain()
  }

  #release(): void {
    const slabs = this.#writing
    this.#writing = []
    this.#writingBytes = 0
    for (let at = 0; at < slabs.length; at += 2) this.arena.give(slabs[at] ?? 0)
  }
}
