import { chmod } from 'node:fs/promises'
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  sensitiveHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { type Clock, within } from '../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { formatAddress, parseAddress, type SocketAddress } from './address.ts'
import type { IncomingCall } from './forward.ts'
import type { LinkCertificate } from './link-certificate.ts'
import { createLogLimiter } from './log-limiter.ts'
import { createResetGuard } from './reset-guard.ts'
import { makeRoom } from './server.ts'
import type { Caller } from './target.ts'
import {
  LINK_WINDOWS,
  LOCAL_WINDOWS,
  MAX_HEADER_LIST_BYTES,
  MAX_HEADER_PAIRS,
  MAX_SEND_HEADER_BYTES,
  MAX_SESSION_MEMORY_MB,
} from './upstream-session.ts'

/** What a listener needs of its surroundings. */
export interface CallListenerSeams {
  readonly clock: Clock
  readonly log: Log
  /** Takes a call; resolves when no upstream has anything to do with it. Must not reject. */
  readonly onCall: (call: IncomingCall, caller: Caller) => Promise<void>
}

/** Where a listener listens, and how. */
export interface CallListenerConfig {
  /** Names it in the log: `ingress`. */
  readonly name: string
  /** `host:port`, or `unix:/path` for a socket of mode 0600. */
  readonly listen: string
  /** With it, TLS 1.3; `admit` says who is at the other end by the fingerprint of its certificate. */
  readonly tls?: { readonly certificate: LinkCertificate; readonly admit: (fingerprint: string) => string | undefined }
}

/** Accepts HTTP/2 connections and hands over their calls. */
export interface CallListener {
  /** @throws HsuError `CONFIG_INVALID`; `NODE_EXISTS` when another process listens on the unix socket */
  start(): Promise<void>
  /** Takes no new calls, lets those under way end for `graceMs`, then ends them. */
  stop(graceMs: number): Promise<void>
  /** The real one: `host:port`, or as configured before `start`. */
  address(): string
}

/** Connections at once; more are not accepted. */
const MAX_CONNECTIONS = 4_096

/** Calls at once on one connection. */
const MAX_CALLS_PER_CONNECTION = 1_000

/** A connection that has not shown its SETTINGS by then is no HTTP/2 client. */
const PREFACE_TIMEOUT_MS = 10_000

const TLS_HANDSHAKE_TIMEOUT_MS = 5_000

/** After the last call, time for clients to close their connections by themselves. */
const FAREWELL_MS = 200

const COMPLAINT_INTERVAL_MS = 60_000

const LOCAL_CALLER: Caller = { nodeId: undefined, fingerprint: undefined }

export function createCallListener(seams: CallListenerSeams, config: CallListenerConfig): CallListener {
  const { clock, log } = seams
  const { name, listen, tls } = config
  const connections = new Connections(seams, tls === undefined ? LOCAL_WINDOWS : LINK_WINDOWS)
  const maySay = createLogLimiter(clock, COMPLAINT_INTERVAL_MS)
  let server: Server | undefined
  let address = listen

  function create(): Server {
    if (tls === undefined) return createTcpServer((socket) => connections.add(socket, LOCAL_CALLER))
    const created = createTlsServer({
      cert: tls.certificate.certPem,
      key: tls.certificate.keyPem,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      // There is no CA: `admit` below is the whole check.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
    })
    created.on('secureConnection', (socket) => welcome(socket, tls.admit))
    created.on('tlsClientError', (error, socket) => {
      if (maySay(`tls ${socket.remoteAddress ?? ''}`)) {
        log.debug('connection refused: no TLS', { listener: name, from: socket.remoteAddress, cause: messageOf(error) })
      }
    })
    return created
  }

  function welcome(socket: TLSSocket, admit: (fingerprint: string) => string | undefined): void {
    const fingerprint = socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase()
    const nodeId = fingerprint === undefined ? undefined : admit(fingerprint)
    if (nodeId !== undefined && socket.alpnProtocol === 'h2') {
      connections.add(socket, { nodeId, fingerprint })
      return
    }
    if (maySay(`admit ${socket.remoteAddress ?? ''}`)) {
      log.warn('connection refused: not a member of the mesh', {
        listener: name,
        from: socket.remoteAddress,
        fingerprint,
      })
    }
    socket.on('error', ignore)
    socket.destroy()
  }

  return {
    address: () => address,

    async start() {
      const wanted = parseAddress(listen)
      if ('path' in wanted) await makeRoom(wanted.path)
      server = create()
      server.maxConnections = MAX_CONNECTIONS
      server.on('connection', (socket: Socket) => connections.watch(socket))
      await bind(server, wanted).catch(async (error: unknown) => {
        if (systemCode(error) !== 'EADDRINUSE' || 'path' in wanted || wanted.port === 0)
          throw cannotListen(name, listen, error)
        await bind(server as Server, { host: wanted.host, port: 0 })
        log.warn('port is busy; another one is used', {
          listener: name,
          wanted: listen,
          used: addressOf(server as Server, wanted),
        })
      })
      server.on('error', (error) => log.error('listener failed', { listener: name, cause: messageOf(error) }))
      if ('path' in wanted) await chmod(wanted.path, 0o600)
      else address = addressOf(server, wanted)
    },

    async stop(graceMs) {
      const stopped = server
      if (stopped === undefined) return
      server = undefined
      const closed = new Promise<void>((resolve) => stopped.close(() => resolve()))
      connections.closeAll()
      await within(clock, graceMs, connections.idle())
      await within(clock, FAREWELL_MS, closed)
      connections.destroyAll()
      await closed
      await connections.idle()
    },
  }
}

/** The connections of a listener and the calls on them. */
class Connections {
  readonly #seams: CallListenerSeams
  readonly #windows: { readonly streamBytes: number; readonly connectionBytes: number }
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #calls = new Set<Promise<unknown>>()
  #closing = false

  constructor(seams: CallListenerSeams, windows: { readonly streamBytes: number; readonly connectionBytes: number }) {
    this.#seams = seams
    this.#windows = windows
  }

  /** Remembers a socket from its first moment, before TLS, so that it can be closed. */
  watch(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', ignore)
  }

  add(socket: Socket, caller: Caller): void {
    const session = performServerHandshake(socket, {
      settings: {
        initialWindowSize: this.#windows.streamBytes,
        maxConcurrentStreams: MAX_CALLS_PER_CONNECTION,
        maxHeaderListSize: MAX_HEADER_LIST_BYTES,
      },
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      maxSendHeaderBlockLength: MAX_SEND_HEADER_BYTES,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
    })
    session.setLocalWindowSize(this.#windows.connectionBytes)
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
    // Garbage, a broken connection, a protocol error: the session ends itself, and no other is concerned.
    session.on('error', ignore)
    this.#expectPreface(session, socket)
    const guard = createResetGuard()
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, fields: string[]) => {
      guard.opened()
      stream.on('error', ignore)
      stream.once('close', () => {
        if (stream.aborted && !stream.headersSent && guard.reset()) this.#endAbuse(session, socket)
      })
      const sensitive = (headers as { [sensitiveHeaders]?: string[] })[sensitiveHeaders] ?? []
      const headOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      this.#begin({ stream, head: { fields, sensitive }, headOnly }, caller)
    })
    if (this.#closing) session.close()
  }

  closeAll(): void {
    this.#closing = true
    for (const session of this.#sessions) session.close()
  }

  destroyAll(): void {
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls)
  }

  #begin(call: IncomingCall, caller: Caller): void {
    const under: Promise<unknown> = Promise.all([this.#seams.onCall(call, caller), closed(call.stream)]).finally(() =>
      this.#calls.delete(under),
    )
    this.#calls.add(under)
  }

  #expectPreface(session: ServerHttp2Session, socket: Socket): void {
    const known = new AbortController()
    session.once('remoteSettings', () => known.abort())
    session.once('close', () => known.abort())
    void this.#seams.clock.sleep(PREFACE_TIMEOUT_MS, known.signal).then(
      () => {
        session.destroy()
        socket.destroy()
      },
      () => undefined,
    )
  }

  #endAbuse(session: ServerHttp2Session, socket: Socket): void {
    if (session.destroyed) return
    this.#seams.log.warn('connection ended: it opens calls only to reset them', { from: socket.remoteAddress })
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }
}

function closed(stream: ServerHttp2Stream): Promise<void> {
  if (stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => stream.once('close', () => resolve()))
}

function bind(server: Server, address: SocketAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(address, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function addressOf(server: Server, { host }: { readonly host: string }): string {
  const bound = server.address()
  return formatAddress(host, typeof bound === 'object' && bound !== null ? bound.port : 0)
}

function cannotListen(name: string, address: string, cause: unknown): HsuError {
  return new HsuError('CONFIG_INVALID', `${name} cannot listen on ${address}: ${messageOf(cause)}`, {
    details: { address },
    cause,
  })
}

function ignore(): void {
  // What failed is seen by the 'close' that follows.
}
