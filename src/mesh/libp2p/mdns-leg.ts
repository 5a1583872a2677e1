import { createSocket } from 'node:dgram'
import type { ComponentLogger, PeerInfo } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import multicastDns, { type MulticastDNS, type QueryPacket, type ResponsePacket } from 'multicast-dns'
import { LastSeen } from '../../base/last-seen.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Leg } from './leg-plan.ts'
import { goodbyeOf, recordsOf, SERVICE } from './mdns-packets.ts'

/** What happens on a leg. */
export interface LegListener {
  onFound(peer: string, addresses: readonly string[]): void
  onGone(peer: string): void
  /** Somebody asked, perhaps this node: one multicast answers all who did. */
  onAsked(): void
  onReady(): void
  /** The last thing sent failed, or did not ('' = it went out). */
  onNote(fault: string): void
  /** The socket is of no use any more. */
  onBroken(fault: string): void
}

export interface LegConfig {
  readonly nodeId: string
  /** Name of this node in packets: anything that no other node has. */
  readonly instance: string
  readonly logger: ComponentLogger
  /** Whether a packet from there is for this leg. */
  readonly isFor: (source: string) => boolean
}

/** The part of the class behind `mdns()` that reads answers; its own socket and timer are never started. */
interface Reader {
  _onMdnsResponse(packet: ResponsePacket): void
  addEventListener(type: 'peer', listener: (event: CustomEvent<PeerInfo>) => void): void
}

const PORT = 5353
const GROUP_V4 = '224.0.0.251'
const GROUP_V6 = 'ff02::fb'

/** The most peers that are remembered as heard on a leg. */
const MAX_HEARD = 256

/** One socket that speaks multicast DNS on one interface. */
export class MdnsLeg {
  readonly leg: Leg
  readonly #socket: MulticastDNS
  readonly #config: LegConfig
  readonly #reader: Reader
  readonly #heard = new LastSeen<string>(MAX_HEARD)
  #hearsItself = false

  constructor(leg: Leg, config: LegConfig, listener: LegListener) {
    this.leg = leg
    this.#config = config
    this.#socket = openSocket(leg)
    this.#reader = createReader(config)
    this.#reader.addEventListener('peer', ({ detail }) => {
      const peer = detail.id.toString()
      if (peer === config.nodeId) return
      this.#heard.note(peer, peer)
      listener.onFound(peer, detail.multiaddrs.map(String))
    })
    this.#listen(listener)
  }

  /** Ids of the peers that announced themselves here since the leg was opened. */
  get heard(): readonly string[] {
    return this.#heard.all
  }

  /** Whether a packet of this node came back: multicast works on this host. */
  get hearsItself(): boolean {
    return this.#hearsItself
  }

  ask(note: (fault: string) => void): void {
    const done = (error?: Error | null): void => note(error ? messageOf(error) : '')
    this.#socket.query({ questions: [{ name: SERVICE, type: 'PTR' }] }, done)
  }

  /** Tells where this node is. `addresses` with the peer id. */
  announce(addresses: readonly string[]): void {
    if (addresses.length > 0) this.#socket.respond(recordsOf(this.#config.instance, addresses))
  }

  /** Resolves when the goodbye has been sent. */
  sayGoodbye(addresses: readonly string[]): Promise<void> {
    if (addresses.length === 0) return Promise.resolve()
    return new Promise((resolve) =>
      this.#socket.respond(recordsOf(this.#config.instance, addresses, 0), () => resolve()),
    )
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.destroy(resolve))
  }

  #listen(listener: LegListener): void {
    const socket = this.#socket
    const { isFor, nodeId } = this.#config
    socket.on('error', (error: Error) => listener.onBroken(messageOf(error)))
    socket.on('warning', (error: Error) => listener.onNote(messageOf(error)))
    socket.on('ready', () => listener.onReady())
    socket.on('query', (packet: QueryPacket, { address }) => {
      if (!isFor(address)) return
      if (this.leg.isOwn(address)) this.#hearsItself = true
      if (packet.questions?.some(({ name }) => name === SERVICE) === true) listener.onAsked()
    })
    socket.on('response', (packet: ResponsePacket, { address }) => {
      if (!isFor(address)) return
      const gone = goodbyeOf(packet)
      if (gone === undefined) this.#reader._onMdnsResponse(packet)
      else if (gone !== nodeId) listener.onGone(gone)
    })
  }
}

function openSocket({ family, interface: name, addresses }: Leg): MulticastDNS {
  const common = { port: PORT, reuseAddr: true, loopback: true }
  if (family === 4) return multicastDns({ ...common, interface: addresses[0] ?? '', bind: '0.0.0.0', ip: GROUP_V4 })
  // Of its own, so that it does not take IPv4 as well, which has its own socket.
  const socket = createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true })
  return multicastDns({ ...common, type: 'udp6', socket, interface: `::%${name}`, bind: '::', ip: GROUP_V6 })
}

function createReader({ instance, logger }: LegConfig): Reader {
  const components = { addressManager: { getAddresses: () => [] }, logger } as unknown as Parameters<
    ReturnType<typeof mdns>
  >[0]
  const reader = mdns({ peerName: instance, serviceTag: SERVICE })(components) as unknown as Reader
  if (typeof reader._onMdnsResponse !== 'function') {
    throw new HsuError('INTERNAL', 'this version of @libp2p/mdns cannot be given a packet')
  }
  return reader
}
