import { ErrorCode, Flag, FrameType } from './protocol.ts'

/** Writes the head of a frame (RFC 9113 4.1) and returns where its payload goes. */
export function putFrameHead(
  bytes: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  bytes[at] = length >>> 16
  bytes[at + 1] = length >>> 8
  bytes[at + 2] = length
  bytes[at + 3] = type
  bytes[at + 4] = flags
  return putUint32(bytes, at + 5, streamId)
}

/** Writes 32 bits, the most significant first, and returns where they end. */
export function putUint32(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
  return at + 4
}

export function uint32At(bytes: Uint8Array, at: number): number {
  return uint31At(bytes, at) + ((bytes[at] ?? 0) & 0x80) * 0x100_0000
}

/** Without the first bit, which is reserved wherever a stream or an increment is named. */
export function uint31At(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) & 0x7f) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)
  )
}

export function lengthAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
}

/** Frames of a fixed size, and whether they belong to a stream, to the connection, or to either. */
interface FrameShape {
  readonly on: 'stream' | 'connection' | 'either'
  readonly bytes?: number
  readonly minBytes?: number
}

const SHAPES: readonly (FrameShape | undefined)[] = [
  { on: 'stream' },
  { on: 'stream' },
  { on: 'stream', bytes: 5 },
  { on: 'stream', bytes: 4 },
  { on: 'connection' },
  { on: 'stream', minBytes: 4 },
  { on: 'connection', bytes: 8 },
  { on: 'connection', minBytes: 8 },
  { on: 'either', bytes: 4 },
  { on: 'stream' },
]

/**
 * What is wrong with the shape of a frame, as the code its connection ends with; `none` for sound frames and for types
 * that nobody knows. The size of a PRIORITY frame is its stream's affair (RFC 9113 6.3) and not judged here.
 */
export function frameFault(type: number, flags: number, streamId: number, length: number): number {
  const shape = SHAPES[type]
  if (shape === undefined) return ErrorCode.none
  if (shape.on === 'stream' ? streamId === 0 : shape.on === 'connection' && streamId !== 0) return ErrorCode.protocol
  if (type === FrameType.priority) return ErrorCode.none
  if (shape.bytes !== undefined && length !== shape.bytes) return ErrorCode.frameSize
  if (shape.minBytes !== undefined && length < shape.minBytes) return ErrorCode.frameSize
  if (type === FrameType.settings && (length % 6 !== 0 || ((flags & Flag.ack) !== 0 && length > 0))) {
    return ErrorCode.frameSize
  }
  return ErrorCode.none
}
