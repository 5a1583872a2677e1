import type { Connection } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { createPulse, type Pulse } from '../../base/pulse.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { Connections, isPeerId } from './connections.ts'
import type { Host } from './host.ts'
import { admits, bareSince, dueInMs, type Link, type LinkAction, planLinks } from './link-plan.ts'
import type { NetworkWatch } from './network-watch.ts'
import { allAddresses, dialOrder, type PeerAddresses } from './peer-addresses.ts'
import {
  claims,
  isStale,
  newTracked,
  noteAddresses,
  noteFailure,
  noteGoodbye,
  noteHurry,
  noteLost,
  noteOpened,
  notePresumed,
  plainOf,
  plainOnes,
  type Tracked,
} from './tracked-peer.ts'

interface LinkSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly networks: NetworkWatch
}

/** How often links are looked at while some are not as they should be, and while all are. */
const BUSY_MS = 250
const CALM_MS = 2_000

const MAX_PEERS = 1_024

/** Keeps exactly one connection, with gossip on it, to every peer it knows, for ever, until told to forget the peer. */
export class Links {
  readonly #seams: LinkSeams
  readonly #host: Host
  readonly #self: string
  readonly #connections: Connections
  readonly #known = new Map<string, Tracked>()
  readonly #working = new Set<Promise<void>>()
  readonly #pulse: Pulse
  #signal: AbortSignal = AbortSignal.abort()

  constructor(seams: LinkSeams, host: Host) {
    this.#seams = seams
    this.#host = host
    this.#self = host.peerId.toString()
    this.#connections = new Connections(seams.clock, host)
    const { clock, random, log } = seams
    const onError = (error: unknown): void => log.error('link tick failed', { cause: messageOf(error) })
    const times = { busyMs: BUSY_MS, calmMs: CALM_MS, jitter: 0.1 }
    this.#pulse = createPulse(() => this.#step(), { ...times, clock, random, onError })
  }

  /** Resolves when `signal` has aborted and no dial is under way. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal
    const unsubscribe = this.#seams.networks.changes.subscribe(() => this.#hasten())
    await this.#pulse.run(signal)
    unsubscribe()
    await Promise.all(this.#working)
  }

  /**
   * Adds what a peer, or somebody we trust, says of where it is.
   *
   * @param lasting keep dialling until forgotten; otherwise until the peer has not been heard of for ten minutes.
   */
  found(peer: string, stated: readonly string[], lasting: boolean): void {
    this.#learn(peer, { stated: plainOnes(stated) }, lasting)
  }

  /** The peer, or somebody who says to be it, was heard on the network: it is worth another try at once. */
  heard(peer: string, announced: readonly string[]): void {
    const known = this.#learn(peer, { announced: plainOnes(announced) }, false)
    if (known === undefined || known.refused) return
    noteHurry(known, this.#nowMs)
    if (this.connectionsTo(peer).length === 0) this.#pulse.hurry()
  }

  /** Whether the mesh takes the peer for dead. A connection that has not noticed is then no reason not to dial anew. */
  presume(peer: string, isDead: boolean): void {
    const known = this.#known.get(peer)
    if (known === undefined) return
    notePresumed(known, isDead, this.#nowMs)
    this.#pulse.hurry()
  }

  /** The peer has said goodbye. */
  gone(peer: string): void {
    const known = this.#known.get(peer)
    if (known !== undefined) noteGoodbye(known, this.#nowMs)
  }

  forget(peer: string): void {
    this.#known.delete(peer)
  }

  /** Newest first, without what only multicast says. */
  addressesOf(peer: string): readonly string[] {
    const known = this.#known.get(peer)
    return known === undefined ? [] : allAddresses({ ...known.addresses, announced: [] })
  }

  /** Connected peers that are, or say they are, at one of `addresses`. */
  peersAt(addresses: readonly string[]): readonly string[] {
    const at = [...this.#known.values()].filter((known) => claims(known, addresses))
    return at.map(({ peer }) => peer).filter((peer) => this.connectionsTo(peer).length > 0)
  }

  /** Whether a known peer claims one of `addresses` and is connected, or is about to be. */
  covers(addresses: readonly string[]): boolean {
    const at = [...this.#known.values()].filter((known) => claims(known, addresses))
    return at.some(({ peer, failures }) => failures < 3 || this.connectionsTo(peer).length > 0)
  }

  /** Open connections to a peer, the newest first. */
  connectionsTo(peer: string): Connection[] {
    return this.#connections.to(peer)
  }

  /** Whether our gossip stream to the peer is open. */
  hasGossip(peer: string): boolean {
    return this.#connections.linksTo(peer).some(({ gossipOut }) => gossipOut)
  }

  opened(connection: Connection): void {
    this.#connections.opened(connection)
    const known = this.#track(connection.remotePeer.toString())
    if (known === undefined) return
    this.#pulse.hurry()
    // One that could not be reached is back: so may others be, whose failures were of the same cause.
    const isBack = known.failures > 0 || known.presumedDead
    const reached = connection.direction === 'outbound' ? plainOf(connection.remoteAddr)[0] : undefined
    noteOpened(known, reached, this.#nowMs)
    if (isBack) this.#hasten()
    if (!known.presumedDead) return
    known.presumedDead = false
    for (const older of this.connectionsTo(known.peer))
      if (older !== connection) older.abort(new Error('the peer was found dead, and has been reached anew'))
  }

  /** The last connection to the peer is gone. */
  lost(peer: string): void {
    const known = this.#known.get(peer)
    if (known !== undefined) noteLost(known, this.#nowMs, this.#seams.random)
    this.#pulse.hurry()
  }

  /** A connection is gone, perhaps one of several to the peer: the one that carried gossip. */
  closed(): void {
    this.#pulse.hurry()
  }

  /** Whether a connection to a peer that has just become known may be completed. */
  admits(peer: string, direction: Link['direction'], remote: Multiaddr): boolean {
    if (direction === 'outbound') this.found(peer, plainOf(remote), false)
    if (this.#known.get(peer)?.presumedDead === true) return true
    return admits(this.#self, peer, direction, this.#nowMs, this.#connections.linksTo(peer))
  }

  get #nowMs(): number {
    return this.#seams.clock.nowMs()
  }

  #learn(peer: string, news: Partial<PeerAddresses>, lasting: boolean): Tracked | undefined {
    if (peer === this.#self || !isPeerId(peer)) return undefined
    const known = this.#track(peer)
    if (known === undefined) return undefined
    const before = new Set(allAddresses(known.addresses))
    noteAddresses(known, news)
    known.lasting ||= lasting
    known.heardAtMs = this.#nowMs
    if (allAddresses(known.addresses).every((address) => before.has(address))) return known
    known.restUntilMs = this.#nowMs
    this.#step()
    this.#pulse.hurry()
    return known
  }

  /** The networks are others now: what failed before may work. */
  #hasten(): void {
    for (const known of this.#known.values()) if (!known.refused) noteHurry(known, this.#nowMs)
    this.#step()
    this.#pulse.hurry()
  }

  #track(peer: string): Tracked | undefined {
    const known = this.#known.get(peer)
    if (known !== undefined) return known
    if (this.#known.size >= MAX_PEERS) {
      this.#seams.log.debug('peer not kept: too many are known', { peer })
      return undefined
    }
    const added = newTracked(peer, this.#nowMs)
    this.#known.set(peer, added)
    return added
  }

  /** Gives the time until something may be due. */
  #step(): number {
    if (this.#signal.aborted) return Infinity
    const nowMs = this.#nowMs
    const links = this.#connections.links()
    for (const known of this.#known.values()) this.#observe(known, links, nowMs)
    for (const action of planLinks(this.#self, nowMs, this.#known.values(), links)) this.#act(action)
    return dueInMs(this.#self, nowMs, this.#known.values(), links)
  }

  #observe(known: Tracked, links: readonly Link[], nowMs: number): void {
    const own = links.filter(({ peer }) => peer === known.peer)
    known.bareSinceMs = bareSince(known.bareSinceMs, own, nowMs)
    if (known.bareSinceMs === undefined) known.reopened = false
    if (own.length === 0 && isStale(known, nowMs)) this.#known.delete(known.peer)
  }

  #act(action: LinkAction): void {
    switch (action.do) {
      case 'dial':
        this.#work(this.#dial(action.peer))
        break
      case 'close':
        this.#work(this.#close(action.link))
        break
      case 'reopen':
        this.#work(this.#reopen(action.peer, action.link))
        break
      case 'recycle':
        this.#seams.log.debug('link without gossip is made anew', { peer: action.peer })
        for (const connection of this.connectionsTo(action.peer))
          connection.abort(new Error('the link carries no gossip'))
        break
    }
  }

  #work(task: Promise<void>): void {
    this.#working.add(task)
    void task.finally(() => this.#working.delete(task))
  }

  async #dial(peer: string): Promise<void> {
    const known = this.#known.get(peer)
    if (known === undefined) return
    const { random, log, networks } = this.#seams
    const addresses = dialOrder(known.addresses, networks.networks(), known.failures)
    known.dialing = true
    try {
      await this.#host.dial(
        addresses.map((address) => multiaddr(`${address}/p2p/${peer}`)),
        { signal: this.#signal, force: known.presumedDead },
      )
    } catch (error) {
      noteFailure(known, error, this.#nowMs, random)
      log.debug('dial failed', { peer, failures: known.failures, cause: messageOf(error) })
    } finally {
      known.dialing = false
      this.#pulse.hurry()
    }
  }

  async #close(link: string): Promise<void> {
    const connection = this.#connections.byId(link)
    this.#seams.log.debug('duplicate connection is closed', { peer: connection?.remotePeer.toString() })
    await connection?.close().catch((error: unknown) => connection.abort(new Error(messageOf(error))))
  }

  /**
   * Lets gossipsub open its stream on the connection that is left. It does so when a connection is identified, and
   * forgets to when the connection that carried its stream closes while another lives on (findings/mesh.md 5).
   */
  async #reopen(peer: string, link: string): Promise<void> {
    const known = this.#known.get(peer)
    const connection = this.connectionsTo(peer).find(({ id }) => id === link)
    if (known === undefined || connection === undefined) return
    known.reopened = true
    await this.#host.services.identify.identify(connection, { signal: this.#signal }).catch((error: unknown) => {
      this.#seams.log.debug('peer did not identify itself', { peer, cause: messageOf(error) })
    })
  }
}
