import './polyfill.ts'
import type { Connection, ConnectionGater, MultiaddrConnection, PeerId, Stream } from '@libp2p/interface'
import { HsuError, messageOf } from '../../base/error.ts'
import { background, inOrder, type Service } from '../../base/lifecycle.ts'
import { MESH_KEY_BYTES } from '../keys/mesh-key.ts'
import type { Libp2pConfig, Libp2pSeams } from '../libp2p-options.ts'
import { MAX_MESSAGE_BYTES, MAX_REQUESTS_PER_PEER } from '../limits.ts'
import type { DiscoveryWay, Transport, TransportHandlers } from '../transport.ts'
import { announcedAddresses, formatHostPort, hostPortOf, type HostPort, isLoopback, parseHostPort } from './address.ts'
import { CHANNEL_PROTOCOL, serveChannel } from './channel.ts'
import { Channels } from './channels.ts'
import { createExchangeServer, EXCHANGE_PROTOCOL } from './exchange.ts'
import { type FailedHandshake, HandshakeWatch } from './handshake.ts'
import { type Host, type HostConfig, privateKeyFrom, startHost, TOPIC } from './host.ts'
import { Links } from './links.ts'
import { createDiscovery } from './mdns.ts'
import { createNetworkWatch, type NetworkWatch } from './network-watch.ts'
import { Presence } from './presence.ts'
import { Refusals } from './refusals.ts'
import { createRememberedPeers, type RememberedPeers } from './remembered-peers.ts'
import { ringProtector } from './ring-protector.ts'
import { Seeds } from './seeds.ts'

/**
 * The transport of the mesh over libp2p: TCP, private network key, Noise, Yamux, gossipsub.
 *
 * @throws HsuError CONFIG_INVALID when an address or the key is not well formed.
 */
export async function createLibp2pTransport(seams: Libp2pSeams, config: Libp2pConfig): Promise<Transport> {
  const privateKey = await privateKeyFrom(seams.identity.privateKey)
  const wrong = config.keys().find(({ length }) => length !== MESH_KEY_BYTES)
  if (wrong !== undefined) {
    throw new HsuError('CONFIG_INVALID', `a mesh key has ${MESH_KEY_BYTES} bytes, not ${wrong.length}`)
  }
  const protector = await ringProtector(config.keys, seams.random)
  const host = { protector, privateKey, listen: parseHostPort(config.listen) }
  return new Libp2pTransport(seams, config.discovery, host, config.discovery.seeds.map(parseHostPort))
}

/** How many channels a peer may open on one connection: one, and those that it opens anew before the old ones are seen to end. */
const MAX_CHANNELS = 4

/** Garbage shows at once: a handshake that lasts this long was cut short by a time limit. */
const SLOW_HANDSHAKE_MS = 1_500

const NO_HANDLERS: TransportHandlers = {
  onRequest: () => Promise.reject(new HsuError('NOT_STARTED', 'nobody handles requests')),
  onBroadcast: () => undefined,
  onConnected: () => undefined,
  onDisconnected: () => undefined,
}

/** A started libp2p node and what keeps its connections. */
interface Running {
  readonly host: Host
  readonly links: Links
  readonly presence: Presence
  readonly channels: Channels
  readonly parts: Service
  readonly ways: () => readonly DiscoveryWay[]
  readonly ending: AbortController
}

class Libp2pTransport implements Transport {
  readonly name = 'libp2p'
  readonly nodeId: string
  readonly #seams: Libp2pSeams
  readonly #discovery: Libp2pConfig['discovery']
  readonly #hostConfig: HostConfig
  readonly #seeds: readonly HostPort[]
  readonly #remembered: RememberedPeers
  readonly #networks: NetworkWatch
  readonly #refusals = new Refusals()
  #handlers = NO_HANDLERS
  #running: Running | undefined
  #stopping = false
  #listened: readonly string[] | undefined

  constructor(
    seams: Libp2pSeams,
    discovery: Libp2pConfig['discovery'],
    hostConfig: HostConfig,
    seeds: readonly HostPort[],
  ) {
    this.#seams = seams
    this.#discovery = discovery
    this.#hostConfig = hostConfig
    this.#seeds = seeds
    this.#remembered = createRememberedPeers(seams)
    this.#networks = createNetworkWatch(seams)
    this.#networks.changes.subscribe(() => {
      this.#listened = undefined
    })
    this.nodeId = seams.identity.nodeId
  }

  readonly addresses = (): readonly string[] => {
    const host = this.#running?.host
    return host === undefined ? [] : announcedAddresses(this.#listening(host), this.#networks.networks())
  }

  handle(handlers: TransportHandlers): void {
    this.#handlers = handlers
  }

  async start(): Promise<void> {
    this.#stopping = false
    this.#listened = undefined
    const watch = new HandshakeWatch((failed) => this.#onRefused(failed))
    const host = await startHost(this.#seams.log, this.#hostConfig, this.#gater(), watch)
    const links = new Links({ ...this.#seams, networks: this.#networks }, host)
    const presence = new Presence(this.#seams.clock, (peer) => isReady(host, links, peer), {
      onConnected: (peer) => this.#onConnected(peer, links),
      onDisconnected: (peer) => this.#tell(() => this.#handlers.onDisconnected(peer)),
    })
    const { parts, ways } = this.#createParts(host, links)
    const ending = new AbortController()
    const channels = new Channels(this.#seams.clock, ending.signal)
    this.#running = { host, links, presence, channels, parts, ways, ending }
    this.#listen(host, links, presence)
    await host.handle(CHANNEL_PROTOCOL, this.#channelServer(), { maxInboundStreams: MAX_CHANNELS })
    await host.handle(EXCHANGE_PROTOCOL, this.#exchangeServer(), { maxInboundStreams: MAX_REQUESTS_PER_PEER })
    host.services.pubsub.subscribe(TOPIC)
    for (const { nodeId, addresses } of await this.#remembered.load()) links.found(nodeId, addresses, true)
    await parts.start()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const running = this.#running
    if (running === undefined) return
    running.presence.close()
    running.ending.abort()
    try {
      await running.parts.stop()
    } finally {
      this.#running = undefined
      await running.host.stop()
    }
  }

  broadcast(bytes: Uint8Array): void {
    const { log } = this.#seams
    if (this.#running === undefined || this.#stopping) return
    if (bytes.length > MAX_MESSAGE_BYTES) {
      log.warn('broadcast is too large and was not sent', { bytes: bytes.length, maxBytes: MAX_MESSAGE_BYTES })
      return
    }
    this.#running.host.services.pubsub.publish(TOPIC, bytes).catch((error: unknown) => {
      log.debug('broadcast failed', { cause: messageOf(error) })
    })
  }

  async request(peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const running = this.#running
    const connection = running?.links.connectionsTo(peer)[0]
    if (running === undefined || connection === undefined) {
      throw new HsuError('NODE_UNREACHABLE', `there is no connection to ${peer}`, { details: { peer } })
    }
    return running.channels.request(connection, bytes, signal)
  }

  connected(): readonly string[] {
    return this.#running?.presence.peers() ?? []
  }

  learn(peer: string, addresses: readonly string[]): void {
    this.#running?.links.found(peer, addresses, true)
  }

  ways(): readonly DiscoveryWay[] {
    return this.#running?.ways() ?? []
  }

  presume(peer: string, isDead: boolean): void {
    this.#running?.links.presume(peer, isDead)
  }

  disconnect(peer: string): void {
    for (const connection of this.#running?.links.connectionsTo(peer) ?? [])
      connection.abort(new Error('the peer may not be connected'))
  }

  forget(peer: string): void {
    this.#running?.links.forget(peer)
    this.#remembered.forget(peer)
  }

  #createParts(host: Host, links: Links): { parts: Service; ways: () => readonly DiscoveryWay[] } {
    const { mdns, interfaces } = this.#discovery
    const { inside } = host.services
    const seams = { ...this.#seams, networks: this.#networks }
    const seeds = new Seeds(seams, host, links, this.#seeds)
    const listener = {
      onFound: (peer: string, addresses: readonly string[]) => links.heard(peer, addresses),
      onGone: (peer: string) => links.gone(peer),
    }
    const listening = (): readonly string[] => this.#listening(host)
    const told = { nodeId: this.nodeId, interfaces, logger: inside.logger, listening }
    const discovery = mdns ? createDiscovery(seams, told, listener) : undefined
    const parts = inOrder('libp2p', [
      this.#networks,
      this.#remembered,
      background('links', (signal) => links.run(signal)),
      background('seeds', (signal) => seeds.run(signal)),
      ...(discovery === undefined ? [] : [discovery]),
    ])
    return { parts, ways: () => [...(discovery?.ways() ?? []), ...seeds.ways(), this.#rememberedWay(links)] }
  }

  #rememberedWay(links: Links): DiscoveryWay {
    const ids = this.#remembered.ids()
    const found = ids.filter((id) => links.connectionsTo(id).length > 0)
    const fault = ids.length > found.length && found.length === 0 ? 'none of them answers where it was last' : ''
    return { way: 'remembered', where: String(ids.length), fault, found }
  }

  /** What a host listens on. libp2p asks the system for all interfaces each time, so that it is asked only when those have changed. */
  #listening(host: Host): readonly string[] {
    return (this.#listened ??= host.services.inside.listening().map(String))
  }

  #listen(host: Host, links: Links, presence: Presence): void {
    host.addEventListener('connection:open', ({ detail }) => links.opened(detail))
    host.addEventListener('connection:close', () => links.closed())
    host.addEventListener('peer:connect', ({ detail }) => presence.arrived(detail.toString()))
    host.addEventListener('peer:disconnect', ({ detail }) => {
      links.lost(detail.toString())
      presence.departed(detail.toString())
    })
    host.addEventListener('peer:identify', ({ detail }) => {
      const peer = detail.peerId.toString()
      links.found(peer, identifiedAddresses(detail.listenAddrs.map(String), detail.connection), true)
      this.#remembered.note(peer, links.addressesOf(peer))
    })
    host.services.pubsub.addEventListener('message', ({ detail }) => {
      if (detail.type !== 'signed' || detail.topic !== TOPIC) return
      this.#tell(() => this.#handlers.onBroadcast(detail.from.toString(), detail.data))
    })
  }

  /** Every address is allowed, private ones first of all; what is refused are second connections to one peer. */
  #gater(): ConnectionGater {
    const deny =
      (direction: 'inbound' | 'outbound') =>
      (peer: PeerId, { remoteAddr }: MultiaddrConnection): boolean => {
        this.#refusals.succeeded(hostOf(remoteAddr))
        if (this.#handlers.admits?.(peer.toString()) === false) return true
        return this.#running?.links.admits(peer.toString(), direction, remoteAddr) !== true
      }
    return {
      denyDialMultiaddr: () => false,
      denyInboundEncryptedConnection: deny('inbound'),
      denyOutboundEncryptedConnection: deny('outbound'),
    }
  }

  #channelServer(): (stream: Stream, connection: Connection) => void {
    return (stream, { remotePeer }) => {
      const from = remotePeer.toString()
      serveChannel(stream, (bytes) => this.#handlers.onRequest(from, bytes))
    }
  }

  #exchangeServer(): ReturnType<typeof createExchangeServer> {
    return createExchangeServer(this.#seams, (from, bytes) => this.#handlers.onRequest(from, bytes))
  }

  #onConnected(peer: string, links: Links): void {
    this.#remembered.note(peer, links.addressesOf(peer))
    this.#tell(() => this.#handlers.onConnected(peer))
  }

  #onRefused({ connection, local }: FailedHandshake): void {
    if (this.#stopping) return
    const address = describe(connection.remoteAddr, connection.direction)
    const { clock, log } = this.#seams
    // On a slow network a handshake is given up in the middle, which says nothing of keys.
    const isSlow = clock.wallMs() - connection.timeline.open >= SLOW_HANDSHAKE_MS
    if (isSlow || !this.#refusals.failed(hostOf(connection.remoteAddr), local, clock.nowMs())) {
      log.debug('handshake failed', { address })
      return
    }
    log.warn(`peer at ${address} refused: it has another mesh key, or is not an HSU node`, { address })
  }

  /** Handlers do not throw; should one do so, libp2p must not suffer. */
  #tell(task: () => void): void {
    if (this.#stopping) return
    try {
      task()
    } catch (error) {
      this.#seams.log.error('a handler of the transport failed', { error })
    }
  }
}

/** Broadcasts reach the peer: our gossip stream is open and the peer has said what it listens to. */
function isReady(host: Host, links: Links, peer: string): boolean {
  const subscribers = host.services.pubsub.getSubscribers(TOPIC)
  return subscribers.some((subscriber) => subscriber.toString() === peer) && links.hasGossip(peer)
}

/** The addresses a peer says it has; its loopback ones mean this machine only when it is on it. */
function identifiedAddresses(listening: readonly string[], connection: Connection): string[] {
  const isLocal = isLoopback(`${connection.remoteAddr.toString()}/`)
  return isLocal ? [...listening] : announcedAddresses(listening).filter((address) => !isLoopback(address))
}

/** Both directions of a quarrel with one host are one piece of news. */
function hostOf(remote: Connection['remoteAddr']): string {
  return hostPortOf(remote)?.host ?? remote.toString()
}

/** How a remote end is named: an inbound connection comes from a port that says nothing. */
function describe(remote: Connection['remoteAddr'], direction: 'inbound' | 'outbound'): string {
  const at = hostPortOf(remote)
  if (at === undefined) return remote.toString()
  return direction === 'outbound' ? formatHostPort(at) : at.host
}
