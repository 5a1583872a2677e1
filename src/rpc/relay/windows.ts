import type { FrameWriter } from './frame-writer.ts'

/**
 * What a stream may send before we have passed it on. 1 MiB is the sweet spot for large messages (measured: 64 kB costs a
 * third, 4 MiB gains nothing).
 */
export const STREAM_WINDOW_BYTES = 1_048_576

/** The same for all streams of a connection together, ... */
export const CONNECTION_WINDOW_BYTES = 16_777_216

/** ... which also bounds what of a connection waits for others, before it is held back as a whole. */
const MAX_HELD_BYTES = 16_777_216

/** What one connection may send, for all its streams together. It is told in large steps. */
export class Windows {
  /** Bytes that came from here and wait to be sent to others. */
  held = 0
  #left = CONNECTION_WINDOW_BYTES
  #owed = 0
  readonly #writer: FrameWriter

  constructor(writer: FrameWriter) {
    this.#writer = writer
  }

  /** False when the other side had no right to send so much. */
  received(bytes: number): boolean {
    this.#left -= bytes
    return this.#left >= 0
  }

  /** So many bytes have gone on, or were thrown away. */
  passed(bytes: number): void {
    this.#owed += bytes
    this.#tell()
  }

  /** So many bytes wait for somebody. They do not hold up the others, until they are too many. */
  hold(bytes: number): void {
    this.held += bytes
    this.passed(bytes)
  }

  release(bytes: number): void {
    this.held -= bytes
    this.#tell()
  }

  #tell(): void {
    if (this.#owed < CONNECTION_WINDOW_BYTES / 2 || this.held > MAX_HELD_BYTES) return
    this.#writer.windowUpdate(0, this.#owed)
    this.#left += this.#owed
    this.#owed = 0
  }
}
