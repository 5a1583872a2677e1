import { networkInterfaces } from 'node:os'
import type { ComponentLogger, PeerInfo } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import multicastDns, { type MulticastDNS, type QueryPacket, type ResponsePacket } from 'multicast-dns'
import { type Clock, within } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import { every } from '../../base/every.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { below, type Random } from '../../base/random.ts'
import { isForLeg, type Leg, planLegs, queryIntervalMs, usableLegs } from './leg-plan.ts'

/** What discovery tells about others. May repeat itself. */
export interface DiscoveryListener {
  onFound(peer: string, addresses: readonly string[]): void
  /** The peer said goodbye. */
  onGone(peer: string): void
}

interface DiscoverySeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface DiscoveryConfig {
  readonly nodeId: string
  /** Names or addresses of interfaces; empty = all that leave the machine. */
  readonly interfaces: readonly string[]
  /** What this node listens on now, without the peer id. */
  readonly listening: () => readonly string[]
  readonly logger: ComponentLogger
}

/** The parts of the class behind `mdns()` that one leg uses; its own socket and timer are never started. */
interface Announcer {
  mdns: MulticastDNS | undefined
  _onMdnsQuery(packet: QueryPacket): void
  _onMdnsResponse(packet: ResponsePacket): void
  addEventListener(type: 'peer', listener: (event: CustomEvent<PeerInfo>) => void): void
}

interface OpenLeg {
  readonly leg: Leg
  readonly socket: MulticastDNS
  readonly announcer: Announcer
  ready: boolean
  announced: string
  /** An answer is wanted, and comes with the next tick: one multicast answers all who asked. */
  owesAnswer: boolean
  asked: number
  queryAtMs: number
}

/** The service name of libp2p's mDNS (libp2p specs, discovery/mdns). */
const SERVICE = '_p2p._udp.local'
const TICK_MS = 250
const SCAN_MS = 2_000
const GOODBYE_MS = 200
const NAME_LENGTH = 32

/** A leg that was just opened asks at once, and often at first. */
const FRESH = { owesAnswer: false, asked: 0, queryAtMs: Number.NEGATIVE_INFINITY }

/**
 * Finds peers by multicast DNS in the packets of `@libp2p/mdns`, with one socket for each usable IPv4 address instead
 * of one on whatever interface the system picks: it needs no default route, follows interfaces that come, go and change
 * their address, tells each network only the address that it can reach, and says goodbye. The faults of one leg do not
 * touch the others; each is logged when it changes.
 */
export function createDiscovery(seams: DiscoverySeams, config: DiscoveryConfig, listener: DiscoveryListener): Service {
  const discovery = new Discovery(seams, config, listener)
  const ticking = background('mdns', (signal) => discovery.run(signal))
  return {
    name: 'mdns',
    start: () => ticking.start(),
    async stop() {
      await ticking.stop()
      await discovery.close()
    },
  }
}

class Discovery {
  readonly #seams: DiscoverySeams
  readonly #config: DiscoveryConfig
  readonly #listener: DiscoveryListener
  readonly #legs = new Map<string, OpenLeg>()
  readonly #faults = new Map<string, string>()
  readonly #instance: string
  #scanAtMs = Number.NEGATIVE_INFINITY

  constructor(seams: DiscoverySeams, config: DiscoveryConfig, listener: DiscoveryListener) {
    this.#seams = seams
    this.#config = config
    this.#listener = listener
    this.#instance = Array.from({ length: NAME_LENGTH }, () => below(36, seams.random).toString(36)).join('')
  }

  run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#seams
    const onError = (error: unknown): void => log.error('mdns tick failed', { cause: messageOf(error) })
    return every(async () => this.#tick(), signal, { intervalMs: TICK_MS, jitter: 0.1, clock, random, onError })
  }

  /** Says goodbye on every leg and closes the sockets. */
  async close(): Promise<void> {
    const legs = [...this.#legs.values()]
    this.#legs.clear()
    await within(this.#seams.clock, GOODBYE_MS, Promise.all(legs.map((open) => this.#sayGoodbye(open))))
    await Promise.all(legs.map(({ socket }) => new Promise<void>((resolve) => socket.destroy(resolve))))
  }

  #tick(): void {
    const nowMs = this.#seams.clock.nowMs()
    if (nowMs >= this.#scanAtMs) {
      this.#scanAtMs = nowMs + SCAN_MS
      this.#scan()
    }
    for (const open of this.#legs.values()) {
      if (!open.ready) continue
      if (open.owesAnswer || open.announced !== this.#addressesOn(open.leg).join()) this.#announce(open)
      if (nowMs >= open.queryAtMs) this.#query(open)
    }
  }

  #scan(): void {
    const usable = usableLegs(networkInterfaces(), this.#config.interfaces)
    const plan = planLegs(usable, new Set(this.#legs.keys()))
    for (const key of plan.close) this.#drop(key, 'its interface or address is gone')
    for (const leg of plan.open) this.#open(leg)
  }

  #open(leg: Leg): void {
    const socket = multicastDns({
      interface: leg.address,
      bind: '0.0.0.0',
      ip: '224.0.0.251',
      port: 5353,
      reuseAddr: true,
      loopback: true,
    })
    const announcer = this.#createAnnouncer(leg)
    announcer.mdns = socket
    const open: OpenLeg = { leg, socket, announcer, ready: false, announced: '', ...FRESH }
    this.#legs.set(leg.key, open)
    socket.on('error', (error: Error) => this.#fail(open, error))
    socket.on('warning', (error: Error) => this.#note(leg, messageOf(error)))
    socket.on('ready', () => this.#begin(open))
    socket.on('query', (packet, { address }) => this.#isFor(open, address) && this.#onQuery(open, packet))
    socket.on('response', (packet, { address }) => this.#isFor(open, address) && this.#onResponse(open, packet))
  }

  #createAnnouncer(leg: Leg): Announcer {
    const addressManager = { getAddresses: (): Multiaddr[] => this.#addressesOn(leg).map((text) => multiaddr(text)) }
    const components = { addressManager, logger: this.#config.logger } as unknown as Parameters<
      ReturnType<typeof mdns>
    >[0]
    const announcer = mdns({ peerName: this.#instance, serviceTag: SERVICE })(components) as unknown as Announcer
    const fits = typeof announcer._onMdnsQuery === 'function' && typeof announcer._onMdnsResponse === 'function'
    if (!fits) throw new HsuError('INTERNAL', 'this version of @libp2p/mdns cannot be given a socket')
    announcer.addEventListener('peer', ({ detail }) => {
      const peer = detail.id.toString()
      if (peer !== this.#config.nodeId) this.#listener.onFound(peer, detail.multiaddrs.map(String))
    })
    return announcer
  }

  #begin(open: OpenLeg): void {
    if (this.#legs.get(open.leg.key) !== open) return
    open.ready = true
    this.#seams.log.debug('discovery leg is up', { interface: open.leg.interface, address: open.leg.address })
    this.#query(open)
    this.#announce(open)
  }

  #query(open: OpenLeg): void {
    open.asked += 1
    this.#askLater(open)
    open.socket.query({ questions: [{ name: SERVICE, type: 'PTR' }] }, (error?: Error | null) => {
      this.#note(open.leg, error ? messageOf(error) : '')
    })
  }

  /** Answers as if asked, so that the packet is `@libp2p/mdns`'s own. */
  #announce(open: OpenLeg): void {
    open.owesAnswer = false
    open.announced = this.#addressesOn(open.leg).join()
    const questions = [{ name: SERVICE, type: 'PTR' as const }]
    open.announcer._onMdnsQuery({ type: 'query', questions } as unknown as QueryPacket)
  }

  #onQuery(open: OpenLeg, packet: QueryPacket): void {
    if (packet.questions?.some(({ name }) => name === SERVICE) !== true) return
    open.owesAnswer = true
    // Answers are for all: what somebody else asks here need not be asked again (RFC 6762, section 7.3).
    this.#askLater(open)
  }

  #askLater(open: OpenLeg): void {
    const { clock, random } = this.#seams
    open.queryAtMs = clock.nowMs() + queryIntervalMs(open.asked) * (0.8 + 0.4 * random.next())
  }

  #onResponse(open: OpenLeg, packet: ResponsePacket): void {
    const gone = goodbyeOf(packet)
    if (gone === undefined) open.announcer._onMdnsResponse(packet)
    else if (gone !== this.#config.nodeId) this.#listener.onGone(gone)
  }

  #sayGoodbye({ leg, socket, ready }: OpenLeg): Promise<void> {
    const addresses = this.#addressesOn(leg)
    if (!ready || addresses.length === 0) return Promise.resolve()
    const name = `${this.#instance}.${SERVICE}`
    const texts = addresses.map(
      (address) => ({ name, type: 'TXT', class: 'IN', ttl: 0, data: `dnsaddr=${address}` }) as const,
    )
    const pointer = { name: SERVICE, type: 'PTR', class: 'IN', ttl: 0, data: name } as const
    return new Promise((resolve) => socket.respond([pointer, ...texts], () => resolve()))
  }

  /** Our addresses that the network of the leg can reach, with the peer id. */
  #addressesOn({ address }: Leg): string[] {
    const { listening, nodeId } = this.#config
    return listening()
      .filter((own) => own.startsWith(`/ip4/${address}/`))
      .map((own) => `${own}/p2p/${nodeId}`)
  }

  #isFor({ leg }: OpenLeg, source: string): boolean {
    const legs = [...this.#legs.values()].map((open) => open.leg)
    return isForLeg(source, leg, legs)
  }

  #fail({ leg }: OpenLeg, error: Error): void {
    this.#note(leg, messageOf(error))
    this.#drop(leg.key, messageOf(error))
  }

  #drop(key: string, why: string): void {
    const open = this.#legs.get(key)
    if (open === undefined) return
    this.#legs.delete(key)
    open.socket.destroy()
    this.#seams.log.debug('discovery leg is down', { interface: open.leg.interface, address: open.leg.address, why })
  }

  /** Logs a fault of a leg when it differs from the one before; '' = it works. */
  #note(leg: Leg, fault: string): void {
    if ((this.#faults.get(leg.key) ?? '') === fault) return
    const fields = { interface: leg.interface, address: leg.address }
    if (fault === '') {
      this.#faults.delete(leg.key)
      this.#seams.log.info('discovery works again on an interface', fields)
      return
    }
    this.#faults.set(leg.key, fault)
    this.#seams.log.warn('discovery does not work on an interface', { ...fields, cause: fault })
  }
}

/** The peer that says goodbye in a response (time to live 0); undefined for any other packet. */
export function goodbyeOf({
  answers = [],
  additionals = [],
}: Pick<ResponsePacket, 'answers' | 'additionals'>): string | undefined {
  const pointer = answers.find((answer) => answer.type === 'PTR' && answer.name === SERVICE)
  if (pointer?.type !== 'PTR' || pointer.ttl !== 0) return undefined
  for (const record of [...answers, ...additionals]) {
    if (record.type !== 'TXT') continue
    const peer = /^dnsaddr=.*\/p2p\/([1-9A-HJ-NP-Za-km-z]+)$/.exec(String(record.data))?.[1]
    if (peer !== undefined) return peer
  }
  return undefined
}
