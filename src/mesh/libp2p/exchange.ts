import type { Connection, Stream } from '@libp2p/interface'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { MAX_MESSAGE_BYTES } from '../limits.ts'

/** The stream protocol of requests: one frame each way, then the stream ends. */
export const EXCHANGE_PROTOCOL = '/hsu/mesh/1'

/** The largest request or response in bytes: a whole message and some room for what surrounds it. */
const MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 65_536

/** How many requests of all peers are served at once; more are reset. */
const MAX_STREAMS = 256

/** How long a peer may take to send its request and to take the answer. */
const SERVE_MS = 15_000

const HEADER_BYTES = 4

/** Bytes, or the list of them that libp2p hands over. */
interface Chunk {
  readonly byteLength: number
  subarray(): Uint8Array
}

/** A frame: the length of `bytes` (4 bytes, big-endian), then `bytes`. */
export function encodeFrame(bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length)
  new DataView(frame.buffer).setUint32(0, bytes.length)
  frame.set(bytes, HEADER_BYTES)
  return frame
}

/**
 * The content of the first frame of `source`.
 *
 * @throws HsuError LIMIT_EXCEEDED when the frame is larger than `maxBytes`, NODE_UNREACHABLE when the source ends early.
 */
export async function readFrame(source: AsyncIterable<Chunk>, maxBytes: number = MAX_FRAME_BYTES): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let received = 0
  let expected: number | undefined
  for await (const chunk of source) {
    chunks.push(chunk.subarray())
    received += chunk.byteLength
    if (expected === undefined && received >= HEADER_BYTES) {
      expected = Buffer.concat(chunks).readUInt32BE(0)
      if (expected > maxBytes) {
        throw new HsuError('LIMIT_EXCEEDED', `a frame of ${expected} bytes exceeds the limit of ${maxBytes}`, {
          details: { bytes: expected, maxBytes },
        })
      }
    }
    if (expected !== undefined && received >= HEADER_BYTES + expected) {
      return Uint8Array.from(Buffer.concat(chunks).subarray(HEADER_BYTES, HEADER_BYTES + expected))
    }
  }
  throw new HsuError('NODE_UNREACHABLE', `the stream ended after ${received} bytes, before the message did`)
}

/**
 * Sends `bytes` over a stream of its own on `connection` and waits for the answer.
 *
 * @throws HsuError TIMED_OUT when `signal` aborts, LIMIT_EXCEEDED when a message is too large, NODE_UNREACHABLE otherwise.
 */
export async function exchange(connection: Connection, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  let stream: Stream | undefined
  const peer = connection.remotePeer.toString()
  const abort = (): void => stream?.abort(new Error('the request was given up'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    if (bytes.length > MAX_FRAME_BYTES) {
      throw new HsuError('LIMIT_EXCEEDED', `a request of ${bytes.length} bytes exceeds the limit of ${MAX_FRAME_BYTES}`)
    }
    stream = await connection.newStream(EXCHANGE_PROTOCOL, { signal })
    signal.throwIfAborted()
    stream.send(encodeFrame(bytes))
    const [answer] = await Promise.all([readFrame(stream), stream.close({ signal })])
    return answer
  } catch (error) {
    stream?.abort(new Error('the request failed'))
    if (signal.aborted)
      throw new HsuError('TIMED_OUT', `no answer from ${peer} in time`, { details: { peer }, cause: error })
    if (error instanceof HsuError && error.reason === 'LIMIT_EXCEEDED') throw error
    const why = messageOf(error)
    throw new HsuError('NODE_UNREACHABLE', `no answer from ${peer}: ${why}`, { details: { peer }, cause: error })
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Serves requests; what one stream does wrong resets that stream and nothing else. */
export function createExchangeServer(
  seams: { readonly clock: Clock; readonly log: Log },
  onRequest: (from: string, bytes: Uint8Array) => Promise<Uint8Array>,
): (stream: Stream, connection: Connection) => Promise<void> {
  let serving = 0

  async function answer(stream: Stream, from: string): Promise<void> {
    const request = await readFrame(stream)
    const response = await onRequest(from, request)
    stream.send(encodeFrame(response))
    await stream.close()
  }

  return async (stream, connection) => {
    const from = connection.remotePeer.toString()
    if (serving >= MAX_STREAMS) {
      stream.abort(new Error('too many requests at once'))
      return
    }
    serving += 1
    try {
      const ended = await within(seams.clock, SERVE_MS, answer(stream, from))
      if (ended === TIMED_OUT) throw new HsuError('TIMED_OUT', `the request took longer than ${SERVE_MS} ms`)
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(messageOf(error)))
      seams.log.debug('request of a peer failed', { peer: from, cause: messageOf(error) })
    } finally {
      serving -= 1
    }
  }
}
