import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import type { ConnectionSet } from '../call-listener.ts'

/** Streams at once on one connection: C-core opens one for each target, others one for all, and one for load reports. */
const MAX_STREAMS = 1_000

/** A connection that has not shown its SETTINGS by then is no HTTP/2 client. */
const PREFACE_TIMEOUT_MS = 10_000

/** How often connections are looked at. */
const SWEEP_INTERVAL_MS = 3_000

/** Looks at which a ping may be unanswered: about the 20 s that gRPC servers wait by default. */
const MAX_SILENT_SWEEPS = 7

interface Connection {
  readonly session: ServerHttp2Session
  readonly socket: Socket
  readonly acceptedAtMs: number
  greeted: boolean
  /** Bytes that had come when it last answered. */
  seenBytes: number
  /** Sweeps since the ping that is not answered yet; undefined when there is none. */
  silentSweeps: number | undefined
}

/** HTTP/2 connections whose streams are served here, by node:http2: they are few and say little. */
export class StreamConnections implements ConnectionSet {
  readonly #clock: Clock
  readonly #onStream: (stream: ServerHttp2Stream, path: string) => void
  readonly #sockets = new Set<Socket>()
  readonly #connections = new Set<Connection>()

  constructor(clock: Clock, onStream: (stream: ServerHttp2Stream, path: string) => void) {
    this.#clock = clock
    this.#onStream = onStream
  }

  watch(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', ignore)
  }

  add(socket: Socket): void {
    try {
      this.#serve(socket)
    } catch {
      // It was lost in this very moment.
      socket.destroy()
    }
  }

  async sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(SWEEP_INTERVAL_MS, signal).catch(() => undefined)
      for (const connection of this.#connections) if (!this.#isSound(connection)) end(connection)
    }
  }

  cut(): void {
    // No node connects here.
  }

  closeAll(): void {
    for (const { session } of this.#connections) session.close()
  }

  destroyAll(): void {
    for (const connection of this.#connections) end(connection)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Streams are ended by the server before the listener is stopped; what is left has no claim to more time. */
  idle(): Promise<void> {
    return Promise.resolve()
  }

  #serve(socket: Socket): void {
    const session = performServerHandshake(socket, { settings: { maxConcurrentStreams: MAX_STREAMS } })
    const acceptedAtMs = this.#clock.nowMs()
    const connection: Connection = {
      ...{ session, socket, acceptedAtMs, greeted: false },
      ...{ seenBytes: 0, silentSweeps: undefined },
    }
    this.#connections.add(connection)
    session.on('error', ignore)
    session.once('close', () => this.#connections.delete(connection))
    session.once('remoteSettings', () => {
      connection.greeted = true
    })
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on('error', ignore)
      if (!stream.destroyed) this.#onStream(stream, headers[':path'] ?? '')
    })
  }

  /** node:http2 leaves a connection open whose bytes made no sense; such a one answers no ping. */
  #isSound(connection: Connection): boolean {
    const { session, socket, acceptedAtMs, greeted, silentSweeps } = connection
    if (!greeted) return this.#clock.nowMs() - acceptedAtMs < PREFACE_TIMEOUT_MS
    if (silentSweeps !== undefined) {
      connection.silentSweeps = silentSweeps + 1
      return connection.silentSweeps < MAX_SILENT_SWEEPS
    }
    if (socket.bytesRead !== connection.seenBytes && !session.closed && !session.destroyed) ping(connection)
    return true
  }
}

/** Only a connection that has sent something since is asked: a silent one of this host costs nothing. */
function ping(connection: Connection): void {
  connection.silentSweeps = 0
  connection.session.ping((error) => {
    if (error !== null) return
    connection.silentSweeps = undefined
    connection.seenBytes = connection.socket.bytesRead
  })
}

function end({ session, socket }: Connection): void {
  session.destroy()
  socket.destroy()
}

function ignore(): void {
  // The 'close' that follows is what counts.
}
