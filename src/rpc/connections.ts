import { constants, type IncomingHttpHeaders, performServerHandshake, sensitiveHeaders } from 'node:http2'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { IncomingCall } from './forward.ts'
import { createResetGuard } from './reset-guard.ts'
import type { Caller } from './target.ts'
import {
  MAX_HEADER_LIST_BYTES,
  MAX_HEADER_PAIRS,
  MAX_SEND_HEADER_BYTES,
  MAX_SESSION_MEMORY_MB,
  type SessionWindows,
} from './upstream-session.ts'

/** What the connections of a listener need of their surroundings. */
export interface ConnectionsSeams {
  readonly clock: Clock
  readonly log: Log
  /** Takes a call; resolves when no upstream has anything to do with it. Must not reject. */
  readonly onCall: (call: IncomingCall, caller: Caller) => Promise<void>
}

export interface ConnectionsConfig {
  readonly windows: SessionWindows
  /** `active`: only connections that sent something are asked whether they still work; `all`: also silent ones. */
  readonly ping: 'active' | 'all'
}

/** Calls at once on one connection. */
const MAX_CALLS_PER_CONNECTION = 1_000

/** A connection that has not shown its SETTINGS by then is no HTTP/2 client. */
const PREFACE_TIMEOUT_MS = 10_000

/** How often connections are looked at. */
const SWEEP_INTERVAL_MS = 3_000

/**
 * Looks at which a ping may be unanswered before the connection is ended. A client on this host may be busy for as
 * long as gRPC servers wait by default (20 s); a host that is gone should be noticed soon.
 */
const MAX_SILENT_SWEEPS: Readonly<Record<ConnectionsConfig['ping'], number>> = { active: 7, all: 2 }

/** Looks for which a connection may be closing. */
const MAX_CLOSING_SWEEPS = 10

interface Connection {
  readonly session: ServerHttp2Session
  readonly socket: Socket
  readonly caller: Caller
  readonly acceptedAtMs: number
  greeted: boolean
  /** Bytes that had come when it last answered. */
  seenBytes: number
  /** Sweeps since the ping that is not answered yet; undefined when there is none. */
  silentSweeps: number | undefined
}

/** The connections of a listener and the calls on them. What one of them does wrong ends that one. */
export class Connections {
  readonly #seams: ConnectionsSeams
  readonly #config: ConnectionsConfig
  readonly #sockets = new Set<Socket>()
  readonly #connections = new Set<Connection>()
  readonly #calls = new Set<Promise<unknown>>()
  #closing = false

  constructor(seams: ConnectionsSeams, config: ConnectionsConfig) {
    this.#seams = seams
    this.#config = config
  }

  /** Remembers a socket from its first moment, before TLS, so that it can be closed. */
  watch(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', ignore)
  }

  /** Begins HTTP/2 on a socket. */
  add(socket: Socket, caller: Caller): void {
    try {
      this.#serve(socket, caller)
    } catch {
      // It was lost in this very moment.
      socket.destroy()
    }
  }

  #serve(socket: Socket, caller: Caller): void {
    const { clock } = this.#seams
    const session = this.#begin(socket)
    const acceptedAtMs = clock.nowMs()
    const connection: Connection = {
      session,
      socket,
      caller,
      acceptedAtMs,
      greeted: false,
      seenBytes: 0,
      silentSweeps: undefined,
    }
    this.#connections.add(connection)
    session.once('close', () => this.#connections.delete(connection))
    session.once('remoteSettings', () => {
      connection.greeted = true
    })
    // A node is trusted, and what its many callers do is not its doing.
    const guard = caller.nodeId === undefined ? createResetGuard() : undefined
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, fields: string[]) => {
      guard?.opened()
      const openedAtMs = clock.nowMs()
      stream.on('error', ignore)
      stream.once('close', () => {
        const reset = stream.aborted && !stream.headersSent
        if (reset && guard?.reset(clock.nowMs() - openedAtMs) === true) this.#endAbuse(connection)
      })
      this.#take({ stream, head: { fields, sensitive: sensitiveOf(headers) }, headOnly: isEnd(flags) }, caller)
    })
    if (this.#closing) session.close()
  }

  /**
   * Looks after the connections until `signal` aborts. node:http2 leaves a connection open whose bytes made no sense
   * (it only stops to answer), and does not notice a host that vanished; neither answers a ping.
   */
  async sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#seams.clock.sleep(SWEEP_INTERVAL_MS, signal).catch(() => undefined)
      for (const connection of this.#connections) {
        if (!this.#isSound(connection)) end(connection)
      }
    }
  }

  /** Ends what a node has open here, in the middle of its calls. */
  cut(nodeId: string): void {
    for (const connection of this.#connections) if (connection.caller.nodeId === nodeId) end(connection)
  }

  /** No new calls; each connection closes after its last one. */
  closeAll(): void {
    this.#closing = true
    for (const { session } of this.#connections) session.close()
  }

  destroyAll(): void {
    for (const connection of this.#connections) end(connection)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls)
  }

  #begin(socket: Socket): ServerHttp2Session {
    const { streamBytes, connectionBytes } = this.#config.windows
    const session = performServerHandshake(socket, {
      settings: {
        initialWindowSize: streamBytes,
        maxConcurrentStreams: MAX_CALLS_PER_CONNECTION,
        maxHeaderListSize: MAX_HEADER_LIST_BYTES,
      },
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      maxSendHeaderBlockLength: MAX_SEND_HEADER_BYTES,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
    })
    session.on('error', ignore)
    session.setLocalWindowSize(connectionBytes)
    return session
  }

  #take(call: IncomingCall, caller: Caller): void {
    const taken: Promise<unknown> = Promise.all([this.#seams.onCall(call, caller), closeOf(call.stream)]).finally(() =>
      this.#calls.delete(taken),
    )
    this.#calls.add(taken)
  }

  #isSound(connection: Connection): boolean {
    const { session, socket, acceptedAtMs, greeted, silentSweeps } = connection
    if (!greeted) return this.#seams.clock.nowMs() - acceptedAtMs < PREFACE_TIMEOUT_MS
    if (session.destroyed) {
      // The other side is slow to take the rest, or to close.
      connection.silentSweeps = (silentSweeps ?? 0) + 1
      return connection.silentSweeps < MAX_CLOSING_SWEEPS
    }
    if (silentSweeps !== undefined) {
      connection.silentSweeps = silentSweeps + 1
      return connection.silentSweeps < MAX_SILENT_SWEEPS[this.#config.ping]
    }
    const quiet = socket.bytesRead === connection.seenBytes && this.#config.ping === 'active'
    if (!quiet && !session.closed) ping(connection)
    return true
  }

  #endAbuse(connection: Connection): void {
    const { session, socket } = connection
    if (session.destroyed) return
    this.#seams.log.warn('connection ended: it opens calls only to reset them', { from: socket.remoteAddress })
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }
}

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

function closeOf(stream: ServerHttp2Stream): Promise<void> {
  if (stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => stream.once('close', () => resolve()))
}

function sensitiveOf(headers: IncomingHttpHeaders): readonly string[] {
  return (headers as { [sensitiveHeaders]?: string[] })[sensitiveHeaders] ?? []
}

function isEnd(flags: number): boolean {
  return (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
}

function ignore(): void {
  // Garbage, a broken connection, a protocol error: the 'close' that follows is what counts.
}
