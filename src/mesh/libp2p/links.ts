import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { every } from '../../base/every.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { hostPortOf, plainAddress, toMultiaddr } from './address.ts'
import type { Host } from './host.ts'
import { admits, bareSince, type KnownPeer, type Link, type LinkAction, planLinks } from './link-plan.ts'
import type { NetworkWatch } from './network-watch.ts'
import { allAddresses, dialOrder, NO_ADDRESSES, type PeerAddresses, withAddresses } from './peer-addresses.ts'

interface LinkSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly networks: NetworkWatch
}

/** A peer that we keep a link to; changed in place by synchronous code only. */
interface Tracked extends KnownPeer {
  addresses: PeerAddresses
  isDialable: boolean
  dialing: boolean
  presumedDead: boolean
  absentSinceMs: number
  restUntilMs: number
  bareSinceMs: number | undefined
  reopened: boolean
  failures: number
  /** The last dial got as far as the handshake, and no further. */
  refused: boolean
  openedAtMs: number
  /** Kept until forgotten; otherwise only while it is heard of (mDNS carries the nodes of other meshes too). */
  lasting: boolean
  heardAtMs: number
  /** When its rest was last cut short. */
  hurriedAtMs: number
}

/** Pause after a failed dial: short, because a host that powers up should be joined at once; a LAN bears it. */
const RETRY: BackoffPolicy = { minMs: 250, maxMs: 8_000, factor: 2, jitter: 0.4 }

/** The same for one that was here a moment ago: a cable that was pulled is often put back. */
const RETRY_SOON: BackoffPolicy = { ...RETRY, maxMs: 1_000 }
const SOON_MS = 60_000

/** Pause after a handshake that failed: most likely another mesh key, which takes a person to mend. */
export const REFUSED_RETRY: BackoffPolicy = { minMs: 5_000, maxMs: 60_000, factor: 2, jitter: 0.4 }

const TICK_MS = 250

/** A connection that lasts this long was wanted by both ends. */
const SETTLED_MS = 1_000

const MAX_PEERS = 1_024
const UNHEARD_MS = 600_000
const HURRY_REST_MS = 1_000

/** Keeps exactly one connection, with gossip on it, to every peer it knows, for ever, until told to forget the peer. */
export class Links {
  readonly #seams: LinkSeams
  readonly #host: Host
  readonly #self: string
  readonly #known = new Map<string, Tracked>()
  readonly #openedAtMs = new WeakMap<Connection, number>()
  readonly #working = new Set<Promise<void>>()
  #signal: AbortSignal = AbortSignal.abort()

  constructor(seams: LinkSeams, host: Host) {
    this.#seams = seams
    this.#host = host
    this.#self = host.peerId.toString()
  }

  /** Resolves when `signal` has aborted and no dial is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log, networks } = this.#seams
    this.#signal = signal
    const onError = (error: unknown): void => log.error('link tick failed', { cause: messageOf(error) })
    const unsubscribe = networks.changes.subscribe(() => this.#hasten())
    await every(async () => this.#step(), signal, { intervalMs: TICK_MS, jitter: 0.1, clock, random, onError })
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
    this.#hurry(known)
  }

  /** Whether the mesh takes the peer for dead. A connection that has not noticed is then no reason not to dial anew. */
  presume(peer: string, isDead: boolean): void {
    const known = this.#known.get(peer)
    if (known === undefined || known.presumedDead === isDead) return
    const nowMs = this.#seams.clock.nowMs()
    known.presumedDead = isDead
    known.absentSinceMs = nowMs
    known.restUntilMs = nowMs
  }

  #learn(peer: string, news: Partial<PeerAddresses>, lasting: boolean): Tracked | undefined {
    if (peer === this.#self || !isPeerId(peer)) return undefined
    const nowMs = this.#seams.clock.nowMs()
    const known = this.#track(peer, nowMs)
    if (known === undefined) return undefined
    const before = new Set(allAddresses(known.addresses))
    setAddresses(known, news)
    known.lasting ||= lasting
    known.heardAtMs = nowMs
    if (allAddresses(known.addresses).every((address) => before.has(address))) return known
    known.restUntilMs = nowMs
    this.#step()
    return known
  }

  /** Ends the rest of a peer whose failures say nothing about now; at most once a second each. */
  #hurry(known: Tracked): void {
    const nowMs = this.#seams.clock.nowMs()
    if (known.hurriedAtMs > nowMs - HURRY_REST_MS) return
    known.hurriedAtMs = nowMs
    known.restUntilMs = Math.min(known.restUntilMs, nowMs)
  }

  /** The networks are others now: what failed before may work. */
  #hasten(): void {
    for (const known of this.#known.values()) if (!known.refused) this.#hurry(known)
    this.#step()
  }

  /** The peer has said goodbye: it is given a rest, not forgotten, for anyone can say so. */
  gone(peer: string): void {
    const known = this.#known.get(peer)
    if (known !== undefined) known.restUntilMs = this.#seams.clock.nowMs() + RETRY.maxMs
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
    const at = [...this.#known.values()].filter((known) =>
      allAddresses(known.addresses).some((address) => addresses.includes(address)),
    )
    return at.map(({ peer }) => peer).filter((peer) => this.connectionsTo(peer).length > 0)
  }

  /** Whether a known peer claims one of `addresses` and is connected, or is about to be. */
  covers(addresses: readonly string[]): boolean {
    for (const { peer, addresses: claimed, failures } of this.#known.values()) {
      if (!allAddresses(claimed).some((address) => addresses.includes(address))) continue
      if (failures < 3 || this.connectionsTo(peer).length > 0) return true
    }
    return false
  }

  /** Open connections to a peer, the newest first. */
  connectionsTo(peer: string): Connection[] {
    const open = this.#host.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open')
    return open.length < 2 ? open : open.toSorted((one, other) => other.timeline.open - one.timeline.open)
  }

  /** Whether our gossip stream to the peer is open. */
  hasGossip(peer: string): boolean {
    return this.connectionsTo(peer).some((connection) => this.#toLink(connection).gossipOut)
  }

  opened(connection: Connection): void {
    const nowMs = this.#seams.clock.nowMs()
    this.#openedAtMs.set(connection, nowMs)
    const known = this.#track(connection.remotePeer.toString(), nowMs)
    if (known === undefined) return
    known.lasting = true
    known.refused = false
    known.openedAtMs = nowMs
    known.bareSinceMs = undefined
    known.reopened = false
    if (connection.direction === 'outbound') {
      const [reached] = plainOf(connection.remoteAddr)
      if (reached !== undefined) setAddresses(known, { reached })
    }
    if (!known.presumedDead) return
    known.presumedDead = false
    for (const older of this.connectionsTo(known.peer))
      if (older !== connection) older.abort(new Error('the peer was found dead, and has been reached anew'))
  }

  /** The last connection to the peer is gone. */
  lost(peer: string): void {
    const known = this.#known.get(peer)
    if (known === undefined) return
    const { clock, random } = this.#seams
    known.absentSinceMs = clock.nowMs()
    // A peer that takes a connection only to end it wants none: it may have another view of who is a member.
    const wanted = known.absentSinceMs - known.openedAtMs >= SETTLED_MS
    known.failures = wanted ? 0 : known.failures + 1
    known.restUntilMs = known.absentSinceMs + (known.failures < 2 ? 0 : backoffMs(known.failures, RETRY, random))
    known.bareSinceMs = undefined
    known.reopened = false
  }

  /** Whether a connection to a peer that has just become known may be completed. */
  admits(peer: string, direction: Link['direction'], remote: Multiaddr): boolean {
    if (direction === 'outbound') this.found(peer, plainOf(remote), false)
    if (this.#known.get(peer)?.presumedDead === true) return true
    const open = this.connectionsTo(peer).map((connection) => this.#toLink(connection))
    return admits(this.#self, peer, direction, this.#seams.clock.nowMs(), open)
  }

  #track(peer: string, nowMs: number): Tracked | undefined {
    const known = this.#known.get(peer)
    if (known !== undefined) return known
    if (this.#known.size >= MAX_PEERS) {
      this.#seams.log.debug('peer not kept: too many are known', { peer })
      return undefined
    }
    const added: Tracked = {
      peer,
      addresses: NO_ADDRESSES,
      isDialable: false,
      dialing: false,
      presumedDead: false,
      refused: false,
      hurriedAtMs: Number.NEGATIVE_INFINITY,
      absentSinceMs: nowMs,
      restUntilMs: nowMs,
      bareSinceMs: undefined,
      reopened: false,
      failures: 0,
      openedAtMs: nowMs,
      lasting: false,
      heardAtMs: nowMs,
    }
    this.#known.set(peer, added)
    return added
  }

  #step(): void {
    if (this.#signal.aborted) return
    const nowMs = this.#seams.clock.nowMs()
    const links = this.#host.getConnections().flatMap((connection) => {
      return connection.status === 'open' ? [this.#toLink(connection)] : []
    })
    for (const known of this.#known.values()) this.#observe(known, links, nowMs)
    for (const action of planLinks(this.#self, nowMs, this.#known.values(), links)) this.#act(action)
  }

  #observe(known: Tracked, links: readonly Link[], nowMs: number): void {
    const own = links.filter(({ peer }) => peer === known.peer)
    known.bareSinceMs = bareSince(known.bareSinceMs, own, nowMs)
    if (known.bareSinceMs === undefined) known.reopened = false
    const isStale = !known.lasting && own.length === 0 && nowMs - known.heardAtMs > UNHEARD_MS
    if (isStale) this.#known.delete(known.peer)
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
    const { clock, random, log, networks } = this.#seams
    const addresses = dialOrder(known.addresses, networks.networks(), known.failures)
    known.dialing = true
    try {
      await this.#host.dial(
        addresses.map((address) => multiaddr(`${address}/p2p/${peer}`)),
        { signal: this.#signal, force: known.presumedDead },
      )
    } catch (error) {
      known.failures += 1
      known.refused = isHandshakeFailure(error)
      const soon = clock.nowMs() - known.absentSinceMs < SOON_MS ? RETRY_SOON : RETRY
      const policy = known.refused ? REFUSED_RETRY : soon
      known.restUntilMs = clock.nowMs() + backoffMs(known.failures, policy, random)
      log.debug('dial failed', { peer, failures: known.failures, cause: messageOf(error) })
    } finally {
      known.dialing = false
    }
  }

  async #close(link: string): Promise<void> {
    const connection = this.#host.getConnections().find(({ id }) => id === link)
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

  #toLink(connection: Connection): Link {
    const gossip = connection.streams.filter(({ protocol }) => protocol.startsWith('/meshsub/'))
    return {
      id: connection.id,
      peer: connection.remotePeer.toString(),
      direction: connection.direction,
      openedAtMs: this.#openedAtMs.get(connection) ?? this.#seams.clock.nowMs(),
      gossipOut: gossip.some(({ direction }) => direction === 'outbound'),
      gossipIn: gossip.some(({ direction }) => direction === 'inbound'),
    }
  }
}

/** True for text that is a libp2p peer id. */
export function isPeerId(text: string): boolean {
  try {
    peerIdFromString(text)
    return true
  } catch {
    return false
  }
}

/** Whether a dial failed after TCP had connected, while the two sides agreed on keys and identities. */
export function isHandshakeFailure(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isHandshakeFailure)
  return error instanceof Error && error.name === 'EncryptionFailedError'
}

function setAddresses(known: Tracked, news: Partial<PeerAddresses>): void {
  known.addresses = withAddresses(known.addresses, news)
  known.isDialable = allAddresses(known.addresses).length > 0
}

function plainOnes(addresses: readonly string[]): string[] {
  return addresses.map(plainAddress).filter((address) => address !== undefined)
}

function plainOf(address: Multiaddr): string[] {
  const at = hostPortOf(address)
  return at === undefined ? [] : [toMultiaddr(at)]
}
