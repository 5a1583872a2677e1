import type { RelayLoop } from './loop.ts'
import type { FrameWriter } from './frame-writer.ts'

const PING_BYTES = 8

/** Held back at once; with more, each is answered as it comes. */
const MAX_HELD = 8

/** Pings of ours that are not answered yet. */
const MAX_ASKED = 8

/** The pings of one connection, both ways. */
export class Pings {
  readonly #loop: RelayLoop
  readonly #writer: FrameWriter
  readonly #held = Buffer.alloc(MAX_HELD * PING_BYTES)
  #count = 0
  #asked: (() => void)[] = []
  #number = 0
  #closed = false

  constructor(loop: RelayLoop, writer: FrameWriter) {
    this.#loop = loop
    this.#writer = writer
  }

  /** Answers a ping with the next frame that goes out, which for those who ping with each message halves our writes. */
  answerLater(bytes: Buffer, at: number): void {
    if (this.#count === MAX_HELD) this.release()
    bytes.copy(this.#held, this.#count * PING_BYTES, at, at + PING_BYTES)
    this.#count += 1
    if (this.#count === 1) this.#loop.acknowledgeLater(() => this.release())
  }

  answer(bytes: Buffer, at: number): void {
    this.#writer.ping(bytes, at, true)
  }

  /** Writes the answers that are held back. */
  release(): void {
    const count = this.#count
    this.#count = 0
    if (this.#closed) return
    for (let at = 0; at < count; at += 1) this.#writer.ping(this.#held, at * PING_BYTES, true)
  }

  /** True when there are answers to go with a frame. */
  get holding(): boolean {
    return this.#count > 0
  }

  /** Asks the other side; `answered` is called when it answers. */
  ask(answered: () => void): void {
    if (this.#asked.length >= MAX_ASKED) return
    this.#asked.push(answered)
    const bytes = Buffer.alloc(PING_BYTES)
    bytes.writeUInt32BE((this.#number += 1), 4)
    this.#writer.ping(bytes, 0, false)
  }

  /** The other side has answered; answers come in order. */
  answered(): void {
    this.#asked.shift()?.()
  }

  close(): void {
    this.#closed = true
    this.#asked = []
  }
}
