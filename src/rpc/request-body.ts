import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2'

/** Begun requests are kept up to this size until an answer begins, so that they can be sent again elsewhere. */
const MAX_KEPT_BYTES = 64 * 1024

/**
 * The body of a request on its way to an upstream, never faster than the upstream takes it. Nothing is read before
 * there is an upstream. What was read is kept for a while, so that the request can be sent to another one.
 */
export class RequestBody {
  readonly #source: ServerHttp2Stream
  #sink: ClientHttp2Stream | undefined
  #kept: Buffer[] | undefined = []
  #keptBytes = 0
  #ended: boolean
  #reading = false

  /** `empty`: the header block was all there is. */
  constructor(source: ServerHttp2Stream, empty: boolean) {
    this.#source = source
    this.#ended = empty
  }

  /** True while all that was read is still here. */
  get replayable(): boolean {
    return this.#kept !== undefined
  }

  /** True when the request is nothing but its header block. */
  get empty(): boolean {
    return this.#ended && this.#keptBytes === 0
  }

  /** True when the whole request has been read. */
  get ended(): boolean {
    return this.#ended
  }

  /** Sends all from the first byte to `sink`, which was opened with `endStream` when the request is `empty`. */
  sendTo(sink: ClientHttp2Stream): void {
    this.#sink = sink
    for (const chunk of this.#kept ?? []) sink.write(chunk)
    if (this.#ended) {
      if (!this.empty) sink.end()
      this.#source.resume()
    } else if (this.#reading) {
      this.#source.resume()
    } else {
      this.#read()
    }
  }

  /** Stops sending; `sendTo` may follow. Nothing is to be done when nothing is sent, or when it was discarded. */
  detach(): void {
    if (this.#sink === undefined) return
    this.#sink = undefined
    if (this.#reading && !this.#ended) this.#source.pause()
  }

  /** An answer has begun: the request will not be sent again. */
  commit(): void {
    this.#kept = undefined
  }

  /** Lets go of what is kept and of what still comes, so that the stream can end. */
  discard(): void {
    this.#sink = undefined
    this.#kept = undefined
    this.#source.resume()
  }

  #read(): void {
    this.#reading = true
    this.#source.on('data', (chunk: Buffer) => this.#pass(chunk))
    this.#source.on('end', () => {
      // node:http2 lets a request that was reset end like a whole one.
      if (this.#source.aborted || this.#source.destroyed) return
      this.#ended = true
      this.#sink?.end()
    })
  }

  #pass(chunk: Buffer): void {
    this.#keep(chunk)
    const sink = this.#sink
    if (sink === undefined || sink.closed || sink.destroyed || sink.write(chunk)) return
    this.#source.pause()
    sink.once('drain', () => {
      if (this.#sink === sink) this.#source.resume()
    })
  }

  #keep(chunk: Buffer): void {
    if (this.#kept === undefined) return
    this.#kept.push(chunk)
    this.#keptBytes += chunk.length
    if (this.#keptBytes > MAX_KEPT_BYTES) this.#kept = undefined
  }
}
