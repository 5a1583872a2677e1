import type { Stream } from '@libp2p/interface'
import { HsuError, messageOf } from '../../base/error.ts'
import { encodeFrame, type Frame, FRAME_KINDS, type FrameKind, FrameReader, MAX_FRAME_CONTENT_BYTES } from './frames.ts'
import { giveCreditInBatches } from './stream-credit.ts'

/** The stream protocol of channels: many requests from one end, answers from the other, until the connection ends. */
export const CHANNEL_PROTOCOL = '/hsu/mesh/channel/1'

/** How many requests may wait for their answer at once; the next fails. Pings and syncs with one peer need two or three. */
const MAX_WAITING = 64

/** How much may wait to be sent to a peer that does not read: some 500 pings. Then requests fail, and answers break the channel. */
const MAX_UNSENT_BYTES = 64 * 1024

/** What a channel uses of a libp2p stream. */
export type ChannelStream = Pick<
  Stream,
  'send' | 'abort' | 'addEventListener' | 'writeBufferLength' | 'status' | 'maxWriteBufferLength'
>

/** The answer is too large for the channel: ask over a stream of its own. */
export const TOO_LARGE = Symbol('too large for a channel')

interface Waiting {
  resolve(answer: Uint8Array | typeof TOO_LARGE): void
  reject(error: HsuError): void
}

/** Whether a request may go over a channel. */
export function fitsChannel(bytes: Uint8Array): boolean {
  return bytes.length <= MAX_FRAME_CONTENT_BYTES
}

/** The asking end of a channel to one peer. When the stream breaks, all that waits fails at once. */
export class Channel {
  readonly #stream: ChannelStream
  readonly #peer: string
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  constructor(stream: ChannelStream, peer: string) {
    this.#stream = stream
    this.#peer = peer
    listen(stream, ({ kind, id, bytes }) => {
      const waiting = this.#waiting.get(id)
      // Whoever gave up does not wait any more; its answer is passed over.
      if (waiting === undefined) return
      if (kind === FRAME_KINDS.answer) waiting.resolve(bytes)
      else if (kind === FRAME_KINDS.large) waiting.resolve(TOO_LARGE)
      else if (kind === FRAME_KINDS.refused) waiting.reject(this.#unreachable('the request was refused'))
    })
    stream.addEventListener('close', () => this.#failAll())
    if (stream.status !== 'open') this.#failAll()
  }

  get isOpen(): boolean {
    return this.#stream.status === 'open'
  }

  /** Requests that wait for their answer now. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** @throws HsuError TIMED_OUT when `signal` aborts, NODE_UNREACHABLE otherwise */
  request(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array | typeof TOO_LARGE> {
    const why = this.#whyNot()
    if (why !== undefined) return Promise.reject(this.#unreachable(why))
    if (signal.aborted) return Promise.reject(this.#timedOut())
    return new Promise((resolve, reject) => {
      const id = this.#nextId()
      const done = (): void => {
        this.#waiting.delete(id)
        signal.removeEventListener('abort', abort)
      }
      const abort = (): void => {
        done()
        reject(this.#timedOut())
      }
      signal.addEventListener('abort', abort)
      this.#waiting.set(id, {
        resolve: (answer) => {
          done()
          resolve(answer)
        },
        reject: (error) => {
          done()
          reject(error)
        },
      })
      try {
        this.#stream.send(encodeFrame(FRAME_KINDS.ask, id, bytes))
      } catch (error) {
        done()
        reject(this.#unreachable(messageOf(error)))
      }
    })
  }

  #whyNot(): string | undefined {
    if (!this.isOpen) return 'the channel is closed'
    if (this.#waiting.size >= MAX_WAITING) return `${MAX_WAITING} requests wait already`
    return this.#stream.writeBufferLength > MAX_UNSENT_BYTES ? 'it does not read' : undefined
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0
    while (this.#waiting.has(this.#lastId))
    return this.#lastId
  }

  #failAll(): void {
    for (const waiting of [...this.#waiting.values()]) waiting.reject(this.#unreachable('the connection broke'))
  }

  #timedOut(): HsuError {
    return new HsuError('TIMED_OUT', `no answer from ${this.#peer} in time`, { details: { peer: this.#peer } })
  }

  #unreachable(why: string): HsuError {
    return new HsuError('NODE_UNREACHABLE', `no answer from ${this.#peer}: ${why}`, { details: { peer: this.#peer } })
  }
}

/** Serves the answering end of a channel; `onRequest` bounds how many requests of one peer it takes. */
export function serveChannel(stream: ChannelStream, onRequest: (bytes: Uint8Array) => Promise<Uint8Array>): void {
  const send = (kind: FrameKind, id: number, bytes: Uint8Array): void => {
    if (stream.status !== 'open') return
    if (stream.writeBufferLength > MAX_UNSENT_BYTES) {
      stream.abort(new HsuError('LIMIT_EXCEEDED', 'the peer asks and does not read the answers'))
      return
    }
    stream.send(encodeFrame(kind, id, bytes))
  }
  listen(stream, ({ kind, id, bytes }) => {
    if (kind !== FRAME_KINDS.ask) return
    onRequest(bytes).then(
      (response) => {
        if (fitsChannel(response)) send(FRAME_KINDS.answer, id, response)
        else send(FRAME_KINDS.large, id, new Uint8Array())
      },
      () => send(FRAME_KINDS.refused, id, new Uint8Array()),
    )
  })
}

/** Hands over each frame that arrives; garbage breaks this stream and nothing else. */
function listen(stream: ChannelStream, onFrame: (frame: Frame) => void): void {
  const reader = new FrameReader()
  const credit = giveCreditInBatches(stream)
  stream.maxWriteBufferLength = 2 * MAX_UNSENT_BYTES
  stream.addEventListener('message', ({ data }) => {
    try {
      credit(data.byteLength)
      for (const frame of reader.read(data.subarray())) onFrame(frame)
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(messageOf(error)))
    }
  })
}
