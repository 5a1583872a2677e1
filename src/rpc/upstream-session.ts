import type { Socket } from 'node:net'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'

/** Window of one stream: what a reader who stalls can make us hold. */
export interface SessionWindows {
  readonly streamBytes: number
  readonly connectionBytes: number
}

/** 1 MiB a stream is the sweet spot for large messages (measured: 64 kB costs a third, 4 MiB gains nothing). */
export const LINK_WINDOWS: SessionWindows = { streamBytes: 1024 * 1024, connectionBytes: 16 * 1024 * 1024 }

/** On one host the way is short, so that less is enough. */
export const LOCAL_WINDOWS: SessionWindows = { streamBytes: 256 * 1024, connectionBytes: 8 * 1024 * 1024 }

/** Header fields of one block, in bytes as RFC 9113 6.5.2 counts them. */
export const MAX_HEADER_LIST_BYTES = 64 * 1024

/** Fields of one block. Node.js takes 128 unless told. */
export const MAX_HEADER_PAIRS = 512

/** A block that came in may grow by what we add, and must still go out: node:http2 ends the session when one cannot. */
export const MAX_SEND_HEADER_BYTES = 2 * MAX_HEADER_LIST_BYTES

/** In MB; node:http2 refuses new streams beyond it, and 10, its default, is little for 1,000 streams. */
export const MAX_SESSION_MEMORY_MB = 64

/** Streams on one connection that we open at most, whatever the other side allows. */
const MAX_OPEN_STREAMS = 1_000

/** The stream limit of a server that names none, so that one connection cannot become a bottleneck. */
const DEFAULT_STREAM_LIMIT = 100

/** A place for one call on a connection. Give it back with `release`, or `open` a stream, whose end gives it back. */
export interface Slot {
  /** @throws when the connection closed in the meantime: nothing was sent */
  open(headers: OutgoingHttpHeaders, endStream: boolean): UpstreamStream
  release(): void
}

/** A stream and what is known of the connection it is on. */
export interface UpstreamStream {
  readonly stream: ClientHttp2Stream
  /** Ends the stream with RST_STREAM(CANCEL) and nothing before it. Idempotent. */
  cancel(): void
  /** True when the other side said, or the lack of a connection proves, that it has processed nothing of the stream. */
  unprocessed(): boolean
  /** True when the connection is gone. */
  lost(): boolean
}

/** A connection as it was dialled. */
export interface Dialled {
  readonly session: ClientHttp2Session
  readonly socket: Socket
}

/** A connection to an upstream that has shown it speaks HTTP/2: its SETTINGS have come. */
export class UpstreamSession {
  readonly #session: ClientHttp2Session
  readonly #socket: Socket
  readonly #onChange: () => void
  #open = 0
  #used = false
  #draining = false
  #limit: number
  /** Set by a GOAWAY: streams above it were not processed. */
  #lastStreamId: number | undefined

  /** `onChange` is called when a slot becomes free or the connection can take no more calls. */
  constructor({ session, socket }: Dialled, onChange: () => void) {
    this.#session = session
    this.#socket = socket
    this.#onChange = onChange
    this.#limit = streamLimit(session)
    session.on('remoteSettings', () => {
      this.#limit = streamLimit(session)
      onChange()
    })
    session.on('goaway', (_code, lastStreamId: number) => {
      this.#lastStreamId = lastStreamId
      this.retire()
      onChange()
    })
    session.on('close', () => {
      this.#draining = true
      onChange()
    })
  }

  get usable(): boolean {
    return !this.#draining && !this.#session.closed && !this.#session.destroyed
  }

  get free(): number {
    return this.usable ? this.#limit - this.#open : 0
  }

  get open(): number {
    return this.#open
  }

  /** True when it has ever had a call. */
  get used(): boolean {
    return this.#used
  }

  reserve(): Slot {
    this.#used = true
    this.#open += 1
    let held = true
    const release = (): void => {
      if (!held) return
      held = false
      this.#open -= 1
      this.#endWhenIdle()
      this.#onChange()
    }
    return { release, open: (headers, endStream) => this.#openStream(headers, endStream, release) }
  }

  /** Takes no new calls and closes when those under way have ended; until then it can still be pinged. */
  retire(): void {
    this.#draining = true
    this.#endWhenIdle()
  }

  destroy(): void {
    this.#session.destroy()
    this.#socket.destroySoon()
  }

  /** Does not wait until the other side closes too: some never do. */
  #endWhenIdle(): void {
    if (this.#draining && this.#open === 0) this.destroy()
  }

  #openStream(headers: OutgoingHttpHeaders, endStream: boolean, release: () => void): UpstreamStream {
    const session = this.#session
    // Not stream.close(): that ends the request properly before it resets it, and a unit might act on half a request.
    const given = new AbortController()
    const stream = session.request(headers, { endStream, signal: given.signal })
    let unsent = false
    stream.on('error', ignore)
    stream.on('frameError', (type) => {
      unsent ||= type === HEADERS_FRAME
    })
    stream.on('close', release)
    return {
      stream,
      cancel: () => given.abort(),
      unprocessed: () =>
        unsent ||
        stream.id === undefined ||
        stream.rstCode === REFUSED_STREAM ||
        (this.#lastStreamId !== undefined && stream.id > this.#lastStreamId),
      lost: () => session.destroyed,
    }
  }
}

/** RFC 9113 6.2 and 7. */
const HEADERS_FRAME = 0x1
const REFUSED_STREAM = 0x7

function streamLimit({ remoteSettings }: ClientHttp2Session): number {
  const announced = remoteSettings.maxConcurrentStreams ?? DEFAULT_STREAM_LIMIT
  return Math.min(announced, MAX_OPEN_STREAMS)
}

/**
 * Begins HTTP/2 on `socket` and waits until the other side's SETTINGS have come. Before that nothing of a call is
 * sent, so that whatever fails here has certainly reached nobody.
 *
 * @throws Error why it failed; the socket is destroyed
 */
export async function beginHttp2(
  socket: Socket,
  windows: SessionWindows,
  clock: Clock,
  timeoutMs: number,
): Promise<ClientHttp2Session> {
  const session = connect('http://localhost', {
    createConnection: () => socket,
    settings: {
      enablePush: false,
      initialWindowSize: windows.streamBytes,
      maxHeaderListSize: MAX_HEADER_LIST_BYTES,
    },
    maxHeaderListPairs: MAX_HEADER_PAIRS,
    maxSendHeaderBlockLength: MAX_SEND_HEADER_BYTES,
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
  })
  session.on('error', ignore)
  session.once('connect', () => {
    if (!session.destroyed) session.setLocalWindowSize(windows.connectionBytes)
  })
  try {
    if ((await within(clock, timeoutMs, settingsOf(session))) === TIMED_OUT) throw new Error('no answer')
    return session
  } catch (error) {
    session.destroy()
    socket.destroy()
    throw error
  }
}

function settingsOf(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    session.once('remoteSettings', () => resolve())
    session.once('error', reject)
    session.once('close', () => reject(new Error('the connection was closed')))
  })
}

function ignore(): void {
  // What failed is seen where it matters: by the 'close' that follows.
}
