import { HsuError } from '../../base/error.ts'

/** Largest request; the subscription of a client with 2,000 names has about 100 kB. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024

/** Length of what comes before each message: a flag and the message's length. */
const PREFIX_BYTES = 5

/** A message as gRPC sends it, not compressed. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, PREFIX_BYTES)
  return frame
}

/** Takes bytes as they come and gives whole messages. @throws HsuError `LIMIT_EXCEEDED`, `UNSUPPORTED`, what `take` throws */
export function messageReader(take: (message: Uint8Array) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= PREFIX_BYTES) {
      const length = rest.readUInt32BE(1)
      if (rest[0] !== 0) throw new HsuError('UNSUPPORTED', 'compressed messages are not understood here')
      if (length > MAX_REQUEST_BYTES) throw new HsuError('LIMIT_EXCEEDED', `a message of ${length} bytes`)
      if (rest.length < PREFIX_BYTES + length) return
      const message = rest.subarray(PREFIX_BYTES, PREFIX_BYTES + length)
      rest = rest.subarray(PREFIX_BYTES + length)
      take(message)
    }
  }
}
