import { Flag } from '../h2/protocol.ts'

/** The fields of one block, as we announce it and as RFC 9113 6.5.2 counts them. */
export const MAX_LIST_BYTES = 65_536
export const MAX_LIST_FIELDS = 512

/** Encoded bytes of one block: one that fits the list may take as much, and more is nothing but a flood. */
const MAX_BLOCK_BYTES = 131_072

/** Frames of one block; those who send honest ones fill them. */
const MAX_BLOCK_FRAMES = 64

/** A block of header fields that comes in several frames (RFC 9113 6.10): nothing else may come between them. */
export class HeaderBlock {
  /** Of the stream whose block is not complete yet; 0 = none. */
  id = 0
  end = false
  /** When it began. */
  sinceMs = 0
  #parts: Buffer[] = []
  #bytes = 0

  begin(id: number, flags: number, part: Buffer, nowMs: number): void {
    this.id = id
    this.end = (flags & Flag.endStream) !== 0
    this.sinceMs = nowMs
    this.#parts = [Buffer.from(part)]
    this.#bytes = part.length
  }

  /** False when it is too much. */
  add(part: Buffer): boolean {
    this.#bytes += part.length
    if (this.#parts.push(Buffer.from(part)) > MAX_BLOCK_FRAMES) return false
    return this.#bytes <= MAX_BLOCK_BYTES
  }

  complete(): Buffer {
    const block = Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    this.id = 0
    return block
  }
}
