import type { ComponentLogger } from '@libp2p/interface'
import { type Clock, within } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { createPulse, type Pulse } from '../../base/pulse.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { below, type Random } from '../../base/random.ts'
import type { DiscoveryWay } from '../transport.ts'
import { hostOf } from './address.ts'
import { isForLeg, type Leg, legGaps, planLegs, queryIntervalMs, usableLegs } from './leg-plan.ts'
import { MdnsLeg } from './mdns-leg.ts'
import type { NetworkWatch } from './network-watch.ts'

/** What discovery tells about others. May repeat itself. */
export interface DiscoveryListener {
  onFound(peer: string, addresses: readonly string[]): void
  /** The peer said goodbye. */
  onGone(peer: string): void
}

/** Finds peers on the networks of this host. */
export interface Discovery extends Service {
  /** How it goes on each interface, for people. */
  ways(): readonly DiscoveryWay[]
}

interface DiscoverySeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly networks: NetworkWatch
}

interface DiscoveryConfig {
  readonly nodeId: string
  /** Names or addresses of interfaces; empty = all that leave the machine. */
  readonly interfaces: readonly string[]
  /** What this node listens on now, without the peer id. */
  readonly listening: () => readonly string[]
  readonly logger: ComponentLogger
}

interface OpenLeg {
  readonly socket: MdnsLeg
  ready: boolean
  announced: string
  owesAnswer: boolean
  asked: number
  queryAtMs: number
}

/** Answers wait for others that are due at most this long; nothing is looked at more rarely than the second. */
const BUSY_MS = 250
const CALM_MS = 10_000
const GOODBYE_MS = 200
const NAME_LENGTH = 32

/** Rest before a leg whose socket broke is opened again. */
const REOPEN_MS = 2_000

/** A leg that was just opened asks at once, and often at first. */
const FRESH = { ready: false, announced: '', owesAnswer: false, asked: 0, queryAtMs: Number.NEGATIVE_INFINITY }

/**
 * Finds peers by multicast DNS in the packets of `@libp2p/mdns`, with one socket for each usable IPv4 address and one for
 * each interface with IPv6, instead of one on whatever interface the system picks: it needs no default route, follows
 * interfaces that come, go and change their address, tells each network only the addresses that it can reach, and says
 * goodbye. The faults of one leg do not touch the others; each is logged when it changes.
 */
export function createDiscovery(
  seams: DiscoverySeams,
  config: DiscoveryConfig,
  listener: DiscoveryListener,
): Discovery {
  const discovery = new MdnsDiscovery(seams, config, listener)
  const ticking = background('mdns', (signal) => discovery.run(signal))
  return {
    name: 'mdns',
    start: () => ticking.start(),
    async stop() {
      await ticking.stop()
      await discovery.close()
    },
    ways: () => discovery.ways(),
  }
}

class MdnsDiscovery {
  readonly #seams: DiscoverySeams
  readonly #config: DiscoveryConfig
  readonly #listener: DiscoveryListener
  readonly #legs = new Map<string, OpenLeg>()
  /** What is wrong with legs, also with those that could not be opened. */
  readonly #faults = new Map<string, { readonly leg: Leg; readonly fault: string }>()
  readonly #instance: string
  readonly #pulse: Pulse
  #planAtMs = Number.NEGATIVE_INFINITY

  constructor(seams: DiscoverySeams, config: DiscoveryConfig, listener: DiscoveryListener) {
    this.#seams = seams
    this.#config = config
    this.#listener = listener
    this.#instance = Array.from({ length: NAME_LENGTH }, () => below(36, seams.random).toString(36)).join('')
    const { clock, random, log } = seams
    const onError = (error: unknown): void => log.error('mdns tick failed', { cause: messageOf(error) })
    const times = { busyMs: BUSY_MS, calmMs: CALM_MS, jitter: 0.1 }
    this.#pulse = createPulse(() => this.#tick(), { ...times, clock, random, onError })
  }

  async run(signal: AbortSignal): Promise<void> {
    const unsubscribe = this.#seams.networks.changes.subscribe(() => {
      this.#planAtMs = Number.NEGATIVE_INFINITY
      this.#pulse.hurry()
    })
    await this.#pulse.run(signal)
    unsubscribe()
  }

  /** Says goodbye on every leg and closes the sockets. */
  async close(): Promise<void> {
    const legs = [...this.#legs.values()]
    this.#legs.clear()
    const told = legs.map(({ socket, ready }) =>
      ready ? socket.sayGoodbye(this.#addressesOn(socket.leg)) : Promise.resolve(),
    )
    await within(this.#seams.clock, GOODBYE_MS, Promise.all(told))
    await Promise.all(legs.map(({ socket }) => socket.close()))
  }

  ways(): readonly DiscoveryWay[] {
    const open = [...this.#legs.values()].map(({ socket }) => this.#wayOf(socket))
    const broken = [...this.#faults.entries()].filter(([key]) => !this.#legs.has(key))
    const closed = broken.map(([, { leg, fault }]) => ({ way: 'mdns', where: placeOf(leg), fault, found: [] }) as const)
    const gaps = legGaps(this.#seams.networks.networks(), this.#config.interfaces)
    const absent = gaps.map(({ where, why }) => ({ way: 'mdns', where, fault: why, found: [] }) as const)
    return [...open, ...closed, ...absent]
  }

  #wayOf({ leg, heard, hearsItself }: MdnsLeg): DiscoveryWay {
    const told = this.#faults.get(leg.key)?.fault ?? ''
    const deaf = hearsItself ? '' : 'multicast does not come back to this host: a firewall may drop UDP 5353'
    return { way: 'mdns', where: placeOf(leg), fault: told === '' ? deaf : told, found: heard }
  }

  /** Gives the time until something is due again. */
  #tick(): number {
    const nowMs = this.#seams.clock.nowMs()
    if (nowMs >= this.#planAtMs) {
      this.#plan()
      this.#planAtMs = nowMs + (this.#faults.size > 0 ? REOPEN_MS : CALM_MS)
    }
    for (const open of this.#legs.values()) {
      if (!open.ready) continue
      if (open.owesAnswer || open.announced !== this.#addressesOn(open.socket.leg).join()) this.#announce(open)
      if (nowMs >= open.queryAtMs) this.#ask(open)
    }
    const queries = [...this.#legs.values()].map(({ queryAtMs }) => queryAtMs)
    return Math.min(this.#planAtMs, ...queries.filter(Number.isFinite)) - nowMs
  }

  #plan(): void {
    const usable = usableLegs(this.#seams.networks.networks(), this.#config.interfaces)
    const plan = planLegs(usable, new Set(this.#legs.keys()))
    const keys = new Set(usable.map(({ key }) => key))
    for (const key of this.#faults.keys()) if (!keys.has(key)) this.#faults.delete(key)
    for (const key of plan.close) this.#drop(key, 'its interface or address is gone')
    for (const leg of plan.open) this.#open(leg)
  }

  #open(leg: Leg): void {
    const { nodeId, logger } = this.#config
    const isFor = (source: string): boolean => isForLeg(source, leg, this.#openLegs())
    const socket = new MdnsLeg(
      leg,
      { nodeId, instance: this.#instance, logger, isFor },
      {
        ...this.#listener,
        onReady: () => this.#begin(leg.key),
        onAsked: () => this.#asked(leg.key),
        onNote: (fault) => this.#note(leg, fault),
        onBroken: (fault) => this.#broken(leg, fault),
      },
    )
    this.#legs.set(leg.key, { socket, ...FRESH })
  }

  #openLegs(): readonly Leg[] {
    return [...this.#legs.values()].map(({ socket }) => socket.leg)
  }

  #begin(key: string): void {
    const open = this.#legs.get(key)
    if (open === undefined) return
    open.ready = true
    this.#seams.log.debug('discovery leg is up', fieldsOf(open.socket.leg))
    this.#ask(open)
    this.#announce(open)
  }

  #asked(key: string): void {
    const open = this.#legs.get(key)
    if (open === undefined) return
    open.owesAnswer = true
    // Answers are for all: what somebody else asks here need not be asked again (RFC 6762, section 7.3).
    this.#askLater(open)
    this.#pulse.hurry()
  }

  #ask(open: OpenLeg): void {
    open.asked += 1
    this.#askLater(open)
    open.socket.ask((fault) => this.#note(open.socket.leg, fault))
  }

  #askLater(open: OpenLeg): void {
    const { clock, random } = this.#seams
    open.queryAtMs = clock.nowMs() + queryIntervalMs(open.asked) * (0.8 + 0.4 * random.next())
  }

  #announce(open: OpenLeg): void {
    const addresses = this.#addressesOn(open.socket.leg)
    open.owesAnswer = false
    open.announced = addresses.join()
    open.socket.announce(addresses)
  }

  /** Our addresses that the network of the leg can reach, with the peer id. */
  #addressesOn({ addresses }: Leg): string[] {
    const { listening, nodeId } = this.#config
    return listening()
      .filter((own) => addresses.includes(hostOf(own)))
      .map((own) => `${own}/p2p/${nodeId}`)
  }

  #drop(key: string, why: string): void {
    const open = this.#legs.get(key)
    if (open === undefined) return
    this.#legs.delete(key)
    void open.socket.close()
    this.#seams.log.debug('discovery leg is down', { ...fieldsOf(open.socket.leg), why })
  }

  /** Its socket has broken: it is opened again after a while. */
  #broken(leg: Leg, fault: string): void {
    this.#note(leg, fault)
    this.#drop(leg.key, fault)
    this.#planAtMs = Math.min(this.#planAtMs, this.#seams.clock.nowMs() + REOPEN_MS)
    this.#pulse.hurry()
  }

  /** Logs a fault of a leg when it differs from the one before; '' = it works. */
  #note(leg: Leg, fault: string): void {
    if ((this.#faults.get(leg.key)?.fault ?? '') === fault) return
    if (fault === '') {
      this.#faults.delete(leg.key)
      this.#seams.log.info('discovery works again on an interface', fieldsOf(leg))
      return
    }
    this.#faults.set(leg.key, { leg, fault })
    this.#seams.log.warn('discovery does not work on an interface', { ...fieldsOf(leg), cause: fault })
  }
}

function placeOf(leg: Leg): string {
  return `${leg.interface} (${leg.addresses.join(', ')})`
}

function fieldsOf(leg: Leg) {
  return { interface: leg.interface, address: leg.addresses.join(' ') }
}
