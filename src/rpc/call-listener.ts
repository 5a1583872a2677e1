import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { bind } from '../base/bind.ts'
import { type Clock, within } from '../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createTaskGroup } from '../base/task-group.ts'
import { formatAddress, parseAddress, type SocketAddress } from './address.ts'
import { descriptorOf, type DoorHandle, socketPlace } from './door.ts'
import type { Joined } from './join.ts'
import { Connections, type ConnectionsSeams } from './relay/connections.ts'
import { fingerprintOf, type ShownCertificate } from './link-certificate.ts'
import { createLogLimiter } from './log-limiter.ts'
import { makeRoom } from './socket-room.ts'
import type { Caller } from './target.ts'

/** Where a listener listens, and how. */
export interface CallListenerConfig {
  /** Names it in the log: `ingress`. */
  readonly name: string
  /** `host:port`, or `unix:/path` for a socket of mode 0600. */
  readonly listen: string
  /** With it, TLS 1.3. */
  readonly tls?: LinkTls
  /** Connections carry whatever they carry: each direction ends by itself, and no other address will do when this one is busy. */
  readonly raw?: boolean
  /** With it, `start` lets nobody in yet: that is left to `open`, once the process before this one is to be replaced. */
  readonly takeover?: Takeover
}

/** What the process before this one leaves to it. */
export interface Takeover {
  /** Its listening socket; undefined: a unix socket, which is replaced in its place, or a door it did not have. */
  readonly handle: DoorHandle | undefined
}

/** How a listener knows who is at the other end. */
export interface LinkTls {
  readonly certificate: ShownCertificate
  /** The id of the node with this certificate; undefined for strangers, who are not let in. */
  readonly admit: (fingerprint: string) => string | undefined
  /** Left out: strangers get nothing. */
  readonly guests?: Guests
}

/** Strangers that are expected, told by the name of the protocol they offer. To all others the port looks as if there were none. */
export interface Guests {
  /** The one of these protocols that an expected guest offers, if one does. */
  readonly protocolOf: (offered: readonly string[]) => string | undefined
  /** Serves a guest and ends its connection. Must not reject. */
  readonly take: (socket: TLSSocket, protocol: string) => Promise<void>
  /** The same for a listener in another thread, which cannot be handed a socket. */
  readonly remote?: RemoteGuests
}

/** What a listener in another thread must know to serve guests by itself. */
export interface RemoteGuests {
  /** The protocols of guests that are expected now, and the secrets they show. */
  open(): readonly { readonly protocol: string; readonly secret: Uint8Array }[]
  /** Calls `listener` when there are others; returns how to end that. */
  onChange(listener: () => void): () => void
  /** What a guest that has proven itself gets; undefined when there is nothing for it any more. */
  give(protocol: string): Uint8Array | undefined
  ended(protocol: string, how: Joined, from: string): void
}

/** Accepts HTTP/2 connections and hands over their calls. */
export interface CallListener {
  /** @throws HsuError `CONFIG_INVALID`; `NODE_EXISTS` when another process listens on the unix socket */
  start(): Promise<void>
  /** Lets callers in, if `start` has not. @throws as `start` */
  open(): Promise<void>
  /** Takes no new calls, lets those under way end for `graceMs`, then ends them. */
  stop(graceMs: number): Promise<void>
  /** Ends the connections of a node, in the middle of its calls. */
  cut(nodeId: string): void
  /** The real one: `host:port`, or as configured before `start`. */
  address(): string
  /** The listening socket, for another process; undefined when there is none or it cannot be handed over. */
  handle(): DoorHandle | undefined
}

/** Connections at once; more are not accepted. */
const MAX_CONNECTIONS = 4_096

const TLS_HANDSHAKE_TIMEOUT_MS = 5_000

/** After the last call, time for clients to close their connections by themselves. */
const FAREWELL_MS = 200

/** A stranger who keeps knocking is told of once in this time. */
const COMPLAINT_INTERVAL_MS = 60_000

/** A process of this host. Asked while the socket is open: afterwards the system does not tell. */
function localCaller({ remoteAddress: host, remotePort: port }: Socket): Caller {
  const address = host === undefined || port === undefined ? {} : { address: formatAddress(host, port) }
  return { nodeId: undefined, fingerprint: undefined, ...address }
}

/** The connections of a listener, whatever they speak. What one of them does wrong ends that one. */
export interface ConnectionSet {
  /** Remembers a socket from its first moment, before TLS, so that it can be closed. */
  watch(socket: Socket): void
  add(socket: Socket, caller: Caller): void
  /** Looks after the connections until `signal` aborts. */
  sweep(signal: AbortSignal): Promise<void>
  /** Ends what a node has open here. */
  cut(nodeId: string): void
  /** No new calls; each connection closes after its last one. */
  closeAll(): void
  destroyAll(): void
  /** Resolves when no call is under way. */
  idle(): Promise<void>
}

interface ListenerSeams {
  readonly clock: Clock
  readonly log: Log
}

export function createCallListener(seams: ConnectionsSeams, config: CallListenerConfig): CallListener {
  return createListener(new Connections(seams, config.tls === undefined ? 'active' : 'all'), seams, config)
}

/** Accepts connections and hands them to `connections`. */
export function createListener(
  connections: ConnectionSet,
  { clock, log }: ListenerSeams,
  config: CallListenerConfig,
): CallListener {
  const { listen, tls, takeover, raw = false } = config
  const inherited = takeover?.handle?.configured === listen ? takeover.handle : undefined
  const tasks = createTaskGroup((error) => log.error('connections are not looked after', { cause: messageOf(error) }))
  const wanted = parseAddress(listen)
  const place = 'path' in wanted ? socketPlace(wanted.path) : undefined
  let server: Server | undefined
  let address = inherited?.address ?? listen

  async function listenNow(): Promise<void> {
    server =
      tls === undefined ? plainServer(connections, raw) : tlsServer({ clock, log }, config.name, tls, connections)
    server.maxConnections = MAX_CONNECTIONS
    server.on('connection', (socket: Socket) => connections.watch(socket))
    if (inherited !== undefined) await bind(server, { fd: inherited.fd })
    else await bindOrNextBest(server, place === undefined ? wanted : { path: place.aside }, config, log)
    server.on('error', (error) => log.error('listener failed', { listener: config.name, cause: messageOf(error) }))
    await place?.occupy()
    if (!('path' in wanted)) address = addressOf(server, wanted)
    tasks.run((signal) => connections.sweep(signal))
  }

  return {
    address: () => address,
    cut: (nodeId) => connections.cut(nodeId),

    handle() {
      const fd = server === undefined ? undefined : descriptorOf(server)
      return fd === undefined || place !== undefined ? undefined : { fd, address, configured: listen }
    },

    async start() {
      if ('path' in wanted) await makeRoom(wanted.path, takeover === undefined)
      if (takeover === undefined || (inherited === undefined && place === undefined)) await listenNow()
    },

    async open() {
      if (server === undefined) await listenNow()
    },

    async stop(graceMs) {
      await place?.vacate()
      const stopped = server
      server = undefined
      if (stopped?.listening === true) {
        const closed = new Promise<void>((resolve) => stopped.close(() => resolve()))
        connections.closeAll()
        await within(clock, graceMs, connections.idle())
        await within(clock, FAREWELL_MS, closed)
        connections.destroyAll()
        await closed
        await connections.idle()
      }
      await tasks.stop()
    },
  }
}

function plainServer(connections: ConnectionSet, allowHalfOpen: boolean): Server {
  return createTcpServer({ allowHalfOpen }, (socket) => connections.add(socket, localCaller(socket)))
}

function tlsServer(
  { clock, log }: ListenerSeams,
  listener: string,
  { certificate, admit, guests }: LinkTls,
  connections: ConnectionSet,
): Server {
  const maySay = createLogLimiter(clock, COMPLAINT_INTERVAL_MS)
  const shown = () => ({ cert: certificate.certPem, key: certificate.keyPem, minVersion: 'TLSv1.3' }) as const
  const server = createTlsServer({
    ...shown(),
    // Whoever offers none of these is refused in the handshake.
    ALPNCallback: ({ protocols }) => (protocols.includes('h2') ? 'h2' : guests?.protocolOf(protocols)),
    requestCert: true,
    // There is no CA: `admit` is the whole check.
    rejectUnauthorized: false,
    handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    const { alpnProtocol } = socket
    if (guests !== undefined && typeof alpnProtocol === 'string' && alpnProtocol !== 'h2') {
      void guests.take(socket, alpnProtocol)
      return
    }
    const peer = socket.getPeerX509Certificate()
    const fingerprint = peer === undefined ? undefined : fingerprintOf(peer.raw)
    const nodeId = fingerprint === undefined ? undefined : admit(fingerprint)
    if (nodeId !== undefined && socket.alpnProtocol === 'h2') {
      connections.add(socket, { nodeId, fingerprint })
      return
    }
    const { remoteAddress: from = 'unknown' } = socket
    if (maySay(from)) log.warn('connection refused: not a member of the mesh', { listener, from, fingerprint })
    socket.on('error', () => undefined)
    socket.destroy()
  })
  const unsubscribe = certificate.renewed?.subscribe(() => server.setSecureContext(shown()))
  server.on('close', () => unsubscribe?.())
  server.on('tlsClientError', (error, socket) => {
    log.debug('connection refused: no TLS', { listener, from: socket.remoteAddress, cause: messageOf(error) })
  })
  return server
}

/** Listens at `wanted`, or on a free port of the same host when that port is busy. */
async function bindOrNextBest(
  server: Server,
  wanted: SocketAddress,
  { name, listen, raw = false }: CallListenerConfig,
  log: Log,
): Promise<void> {
  try {
    await bindAnyFamily(server, wanted)
  } catch (cause) {
    if (systemCode(cause) !== 'EADDRINUSE' || 'path' in wanted || wanted.port === 0 || raw) {
      const message = `${name} cannot listen on ${listen}: ${messageOf(cause)}`
      throw new HsuError('CONFIG_INVALID', message, { details: { address: listen }, cause })
    }
    await bindAnyFamily(server, { host: wanted.host, port: 0 })
    log.warn('port is busy; another one is used', { listener: name, wanted: listen, used: addressOf(server, wanted) })
  }
}

/** The IPv4 wildcard means IPv6 too, where the system has it: a host with IPv6 alone is reached as well. */
async function bindAnyFamily(server: Server, address: SocketAddress): Promise<void> {
  if ('path' in address || address.host !== '0.0.0.0') return bind(server, address)
  try {
    await bind(server, { host: '::', port: address.port })
  } catch (error) {
    if (!['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'].includes(systemCode(error) ?? '')) throw error
    await bind(server, address)
  }
}

function addressOf(server: Server, { host }: { readonly host: string }): string {
  const bound = server.address()
  if (typeof bound !== 'object' || bound === null) return formatAddress(host, 0)
  return formatAddress(bound.address === '::' ? '::' : host, bound.port)
}
