import { HsuError } from '../../base/error.ts'

/** What a frame of a channel says. Numbers are part of the wire; kinds that a reader does not know are passed over. */
export const FRAME_KINDS = {
  /** A request. */
  ask: 1,
  /** The answer to the request of that id. */
  answer: 2,
  /** That request is not answered: it was refused, or failed. */
  refused: 3,
  /** The answer is too large for a channel: ask again over a stream of its own. */
  large: 4,
} as const

export type FrameKind = (typeof FRAME_KINDS)[keyof typeof FRAME_KINDS]

/** One message of a channel. */
export interface Frame {
  readonly kind: number
  /** Chosen by the asker, repeated in the answer. */
  readonly id: number
  readonly bytes: Uint8Array
}

/** The largest content of a frame: what is larger would keep pings waiting behind it. */
export const MAX_FRAME_CONTENT_BYTES = 16 * 1024

/** Length of what follows (4 bytes, big-endian), kind (1), id (4, big-endian); then the content. */
const LENGTH_BYTES = 4
const HEADER_BYTES = LENGTH_BYTES + 1 + 4

export function encodeFrame(kind: FrameKind, id: number, bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length)
  const header = new DataView(frame.buffer)
  header.setUint32(0, HEADER_BYTES - LENGTH_BYTES + bytes.length)
  header.setUint8(4, kind)
  header.setUint32(5, id)
  frame.set(bytes, HEADER_BYTES)
  return frame
}

/** Makes frames of a stream's bytes, wherever those are cut. Holds at most one frame that is not complete. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array()

  /** The frames that `chunk` completes. @throws HsuError LIMIT_EXCEEDED for a length that no frame has */
  read(chunk: Uint8Array): Frame[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const frames: Frame[] = []
    let at = 0
    while (bytes.length - at >= LENGTH_BYTES) {
      const length = checkLength(view.getUint32(at))
      if (bytes.length - at < LENGTH_BYTES + length) break
      // Copies, so that a few bytes do not hold on to a large chunk.
      const content = Uint8Array.prototype.slice.call(bytes, at + HEADER_BYTES, at + LENGTH_BYTES + length)
      frames.push({ kind: view.getUint8(at + 4), id: view.getUint32(at + 5), bytes: content })
      at += LENGTH_BYTES + length
    }
    this.#rest = Uint8Array.prototype.slice.call(bytes, at)
    return frames
  }
}

function checkLength(length: number): number {
  const most = HEADER_BYTES - LENGTH_BYTES + MAX_FRAME_CONTENT_BYTES
  if (length >= HEADER_BYTES - LENGTH_BYTES && length <= most) return length
  throw new HsuError(
    'LIMIT_EXCEEDED',
    `a frame of ${length} bytes is not between ${HEADER_BYTES - LENGTH_BYTES} and ${most}`,
  )
}
