import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Clock } from '../base/clock.ts'
import type { HsuError } from '../base/error.ts'
import { answerFields, notGrpcFields, trailerFields } from './grpc-answer.ts'
import { type HeaderBlock, toOutgoing } from './header-fields.ts'
import type { RequestBody } from './request-body.ts'

/** Time for the last frame of an answer to leave before a request that still goes on is reset; RFC 9113 8.1 */
const LINGER_MS = 20

/** Each wait is twice as long as the one before, up to this one: about 40 s in all for a caller that takes nothing. */
const MAX_LINGER_MS = 20_480

/** node:http2 adds a date of its own unless told (an option its types do not know). */
const ALONE = { endStream: true, sendDate: false }
const WITH_TRAILERS = { waitForTrailers: true, sendDate: false }

/** The answering half of a caller's stream. Everything is safe after the caller has gone, and nothing throws. */
export class Answer {
  readonly #stream: ServerHttp2Stream
  readonly #body: RequestBody
  readonly #clock: Clock
  readonly #asGrpc: boolean
  #trailers: OutgoingHttpHeaders = {}
  #over = false

  /** `asGrpc`: the caller speaks gRPC; others get our failures with an HTTP status. */
  constructor(stream: ServerHttp2Stream, body: RequestBody, clock: Clock, asGrpc: boolean) {
    this.#asGrpc = asGrpc
    this.#stream = stream
    this.#body = body
    this.#clock = clock
    stream.on('error', ignore)
    stream.once('wantTrailers', () => this.#act(() => stream.sendTrailers(this.#trailers)))
  }

  /** Passes on the header block of a response; `alone` when it is the whole response. */
  begin(head: HeaderBlock, alone: boolean): void {
    if (this.#closed) return
    this.#act(() => {
      this.#stream.respond(toOutgoing(head, 'response'), alone ? ALONE : WITH_TRAILERS)
    })
    if (alone) this.#end()
  }

  /** Passes on an interim response (1xx), for callers that know such things. */
  inform(head: HeaderBlock): void {
    if (this.#closed || this.#stream.headersSent) return
    this.#act(() => this.#stream.additionalHeaders(toOutgoing(head, 'response')))
  }

  /** False when the caller is slower than its answer: `drained` tells when to go on. */
  write(chunk: Buffer): boolean {
    return this.#closed || this.#stream.write(chunk)
  }

  /** Calls `resume` when the caller has taken what was written. */
  drained(resume: () => void): void {
    this.#stream.once('drain', resume)
  }

  /** Ends the response with trailers; undefined when the upstream sent none. */
  finish(trailers: HeaderBlock | undefined): void {
    if (this.#closed) return
    if (trailers !== undefined) this.#trailers = toOutgoing(trailers, 'trailers')
    this.#stream.end()
    this.#end()
  }

  /** Ends the call with an error of our own, in trailers when the response has begun. */
  fail(error: HsuError): void {
    if (this.#closed) return
    if (this.#stream.headersSent) {
      this.#trailers = trailerFields(error)
      this.#stream.end()
    } else {
      this.#act(() => this.#stream.respond(this.#asGrpc ? answerFields(error) : notGrpcFields(error), ALONE))
    }
    this.#end()
  }

  /** Ends the call with RST_STREAM, unless it is over already. */
  reset(code: number): void {
    if (!this.#over) this.#kill(code)
  }

  get #closed(): boolean {
    return this.#over || this.#stream.closed || this.#stream.destroyed
  }

  /** The answer is complete. A caller that goes on sending is told to stop, once the answer has left. */
  #end(): void {
    this.#over = true
    const { ended } = this.#body
    this.#body.discard()
    if (!ended) void this.#linger()
  }

  /** Never rejects. */
  async #linger(): Promise<void> {
    const over = new AbortController()
    this.#stream.once('close', () => over.abort())
    for (let waitMs = LINGER_MS; waitMs <= MAX_LINGER_MS; waitMs *= 2) {
      await this.#clock.sleep(waitMs, over.signal).catch(() => undefined)
      const { closed, destroyed, state } = this.#stream
      if (closed || destroyed) return
      if (state.localClose === 1) {
        this.#stream.close(constants.NGHTTP2_NO_ERROR)
        return
      }
    }
    this.#kill(constants.NGHTTP2_CANCEL)
  }

  /** node:http2 throws at header fields it finds wrong: that is the end of this stream, and of nothing else. */
  #act(action: () => void): void {
    try {
      action()
    } catch {
      this.#kill(constants.NGHTTP2_INTERNAL_ERROR)
    }
  }

  #kill(code: number): void {
    this.#over = true
    this.#body.discard()
    if (!this.#stream.closed && !this.#stream.destroyed) this.#stream.close(code)
  }
}

function ignore(): void {
  // The 'close' that follows is what counts.
}
