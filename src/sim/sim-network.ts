import type { Clock } from '../base/clock.ts'
import { type Random, sample } from '../base/random.ts'
import type { LoopWatch } from '../mesh/index.ts'
import type { Life } from './life.ts'
import { NodeTimes } from './node-times.ts'
import { SimCuts } from './sim-cuts.ts'
import { farEnd, type SimLink, SimLinks } from './sim-links.ts'
import type { SimClock } from './sim-clock.ts'
import { shareKey, SimTransport, timedOut, unreachable, type Wire } from './sim-transport.ts'

export interface SimNetworkOptions {
  readonly clock: SimClock
  readonly random: Random
  /** One-way delay of a message, uniform between the two. Default 1 to 5 ms. */
  readonly latencyMs?: readonly [min: number, max: number]
  /** Nodes find each other by themselves, as by mDNS. Default true; false: only who learnt an address dials. */
  readonly discovery?: boolean
  /** How long a connection lives across a partition before both ends give it up. Default 10 s. */
  readonly brokenAfterMs?: number
}

/** How much of what a node hears of others it passes on: gossipsub keeps 6 to 12 neighbours for that. */
const FAN_OUT = 8

/** How far a message that is reordered falls behind, at most. */
const REORDER_MS = 100

/**
 * A network in memory, with the faults of a real one: `partition`, `cutOneWay`, `heal`, `loss`, `lossFrom`, `delayMs`,
 * `duplicate`, `reorder`, `discover`, `move`, `crash`, and of its nodes: `freeze` and `thaw`, `stall`, `sleep`, `skew`.
 * Messages between connected nodes take a random time, may be lost, and overtake each other.
 */
export class SimNetwork implements Wire {
  /** Probability that a message is lost, 0 to 1, one way. */
  loss = 0
  /** The same for what one node sends, by node id; `loss` comes on top. */
  readonly lossFrom = new Map<string, number>()
  /** Added to the way of each message. */
  delayMs = 0
  /** Probability that a message arrives twice. */
  duplicate = 0
  /** Probability that a message falls behind those sent after it. */
  reorder = 0
  /** Messages that were sent, lost ones included. */
  sent = 0
  /** Their bytes, without what a real network puts around them. */
  sentBytes = 0
  /** Those of the largest. */
  largestBytes = 0
  readonly times: NodeTimes
  readonly #clock: SimClock
  readonly #random: Random
  readonly #latencyMs: readonly [number, number]
  #discovery: boolean
  readonly #brokenAfterMs: number
  readonly #nodes = new Set<SimTransport>()
  readonly #links = new SimLinks()
  readonly #cuts = new SimCuts()
  readonly #dialling = new Set<string>()

  constructor({ clock, random, latencyMs = [1, 5], discovery = true, brokenAfterMs = 10_000 }: SimNetworkOptions) {
    this.times = new NodeTimes(clock)
    this.#clock = clock
    this.#random = random
    this.#latencyMs = latencyMs
    this.#discovery = discovery
    this.#brokenAfterMs = brokenAfterMs
  }

  /**
   * A transport for a node; a second one for the same id takes the place of the first, as after a restart.
   *
   * @param twin leaves the first where it is: two nodes use one identity
   */
  transport(nodeId: string, twin = false): SimTransport {
    const transport = new SimTransport(this, nodeId, [`/ip4/10.0.0.${this.#nodes.size + 1}/tcp/9471/p2p/${nodeId}`])
    if (!twin)
      for (const before of this.#named(nodeId)) {
        // Its peers may still hold connections to a host that went without a word.
        this.hangUp(before)
        this.#nodes.delete(before)
      }
    this.#nodes.add(transport)
    return transport
  }

  /** See `NodeTimes`. */
  clockOf(nodeId: string, life?: Life): Clock {
    return this.times.clockOf(nodeId, life)
  }

  loopOf(nodeId: string): LoopWatch {
    return this.times.loopOf(nodeId)
  }

  /** Cuts the network into groups, silently; nodes in none are together in one more. Replaces an earlier partition. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#cuts.partition(groups)
    const { epoch } = this.#cuts
    this.#clock.after(this.#brokenAfterMs, () => {
      if (epoch !== this.#cuts.epoch) return
      for (const node of this.#nodes) {
        for (const link of this.#links.of(node)) if (!this.#reaches(...link.ends)) this.#close(link)
      }
    })
  }

  /** Silently loses all that `from` sends to `to`, until `heal`. Adds to what is cut already. */
  cutOneWay(from: readonly string[], to: readonly string[]): void {
    this.#cuts.cutOneWay(from, to)
  }

  heal(): void {
    this.#cuts.heal()
    for (const node of this.#nodes) this.dial(node)
  }

  /** Ends a node at once; its peers see the reset, unless a partition hides it from them for a while. */
  crash(nodeId: string): void {
    for (const node of this.#named(nodeId)) node.end()
  }

  /** Multicast DNS works for all, or for nobody. */
  discover(works: boolean): void {
    this.#discovery = works
    if (works) for (const node of this.#nodes) this.dial(node)
  }

  /** A node gets other addresses. It notices at once that its connections are gone, its peers only by their silence. */
  move(nodeId: string, addresses: readonly string[]): void {
    for (const node of this.#named(nodeId)) {
      node.own = addresses
      for (const link of this.#links.of(node)) {
        const peer = farEnd(link, node)
        this.#links.cut(link)
        this.#notifyClosed(node, peer, this.#latency())
        this.#notifyClosed(peer, node, this.#brokenAfterMs)
      }
      this.dial(node)
    }
  }

  /** The host of a node loses its power: no reset tells its peers, only silence does, until they give its connections up. */
  vanish(nodeId: string): void {
    for (const node of this.#named(nodeId)) {
      node.up = false
      this.#clock.after(this.#brokenAfterMs, () => this.hangUp(node))
    }
  }

  /** Stops a node without ending it: connections stay, nothing is answered, what arrives waits. */
  freeze(nodeId: string): void {
    this.times.freeze(nodeId, false)
  }

  thaw(nodeId: string): void {
    if (this.times.thaw(nodeId)) for (const node of this.#named(nodeId)) this.dial(node)
  }

  /** The lid of a laptop: like `freeze`, but the clock of the node stands still too. `thaw` opens it. */
  sleep(nodeId: string): void {
    this.times.freeze(nodeId, true)
  }

  /** Blocks the event loop of a node for `ms`. */
  stall(nodeId: string, ms: number): void {
    if (this.times.isFrozen(nodeId)) return
    this.freeze(nodeId)
    this.#clock.after(ms, () => this.thaw(nodeId))
  }

  /** Sets the wall clock of a node `ms` off. */
  skew(nodeId: string, ms: number): void {
    this.times.skew(nodeId, ms)
  }

  /** For transports: connects a node, after a while, to all who want that too. */
  dial(node: SimTransport): void {
    for (const other of this.#nodes) if (other.nodeId !== node.nodeId) void this.#dialPair(node, other)
  }

  /** For transports: those that `node` has a link to. */
  peersOf(node: SimTransport): SimTransport[] {
    return this.#links.of(node).map((link) => farEnd(link, node))
  }

  /** For transports: closes the link between a node and a peer, if there is one. */
  disconnect(node: SimTransport, peer: string): void {
    const link = this.#links.between(node, peer)
    if (link !== undefined) this.#close(link)
  }

  /** For transports: closes all links of a node that ended. */
  hangUp(node: SimTransport): void {
    for (const link of this.#links.of(node)) this.#close(link)
  }

  /** For transports: the author tells all its peers, each of which tells some of its own; each node gets it once. */
  flood(author: SimTransport, bytes: Uint8Array): void {
    const seen = new Set([author])
    const spread = (from: SimTransport): void => {
      const peers = this.peersOf(from)
      for (const to of from === author ? peers : sample(peers, FAN_OUT, this.#random)) {
        if (seen.has(to)) {
          this.#count(bytes.length)
          continue
        }
        this.#deliver(from, to, bytes.length, () => {
          if (seen.has(to)) return
          seen.add(to)
          to.handlers.onBroadcast(author.nodeId, bytes.slice())
          spread(to)
        })
      }
    }
    spread(author)
  }

  /** For transports: one request, one response. */
  request(from: SimTransport, peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const link = this.#links.between(from, peer)
    if (signal.aborted) return Promise.reject(timedOut(peer))
    if (link === undefined) return Promise.reject(unreachable(peer))
    const to = farEnd(link, from)
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => (): void => {
        signal.removeEventListener('abort', abort)
        link.onClose.delete(close)
        settle()
      }
      const abort = done(() => reject(timedOut(peer)))
      const close = done(() => reject(unreachable(peer)))
      signal.addEventListener('abort', abort)
      link.onClose.add(close)
      this.#deliver(from, to, bytes.length, () => {
        to.handlers.onRequest(from.nodeId, bytes.slice()).then(
          (response) => {
            const arrive = done(() => resolve(response.slice()))
            this.#deliver(to, from, response.length, arrive)
          },
          () => this.#deliver(to, from, 0, close),
        )
      })
    })
  }

  async #dialPair(one: SimTransport, other: SimTransport): Promise<void> {
    const key = one.nodeId < other.nodeId ? `${one.nodeId} ${other.nodeId}` : `${other.nodeId} ${one.nodeId}`
    const wanted = (): boolean =>
      one.up &&
      other.up &&
      this.#links.between(one, other.nodeId) === undefined &&
      this.#reaches(one, other) &&
      this.#reaches(other, one) &&
      this.#knows(one, other)
    const admitted = (): boolean =>
      shareKey(one, other) &&
      one.handlers.admits?.(other.nodeId) !== false &&
      other.handlers.admits?.(one.nodeId) !== false
    if (this.#dialling.has(key) || !wanted()) return
    this.#dialling.add(key)
    do await this.#clock.sleep(20 + 100 * this.#random.next())
    while (wanted() && !admitted())
    this.#dialling.delete(key)
    // Who is frozen takes no part in a handshake, and dials when it thaws.
    if (!wanted() || this.times.isFrozen(one.nodeId) || this.times.isFrozen(other.nodeId)) return
    this.#links.join(one, other)
    this.#whenThawed(one, () => one.handlers.onConnected(other.nodeId))
    this.#whenThawed(other, () => other.handlers.onConnected(one.nodeId))
  }

  #knows(one: SimTransport, other: SimTransport): boolean {
    return (this.#discovery && one.mdns && other.mdns) || canDial(one, other) || canDial(other, one)
  }

  #close(link: SimLink): void {
    const [one, other] = link.ends
    this.#links.cut(link)
    // A reset does not cross a partition: then only silence tells, until the connection is given up.
    const tells = (node: SimTransport, peer: SimTransport): number =>
      peer.up || this.#reaches(node, peer) ? this.#latency() : this.#brokenAfterMs
    this.#notifyClosed(one, other, tells(one, other))
    this.#notifyClosed(other, one, tells(other, one))
  }

  #notifyClosed(node: SimTransport, peer: SimTransport, afterMs: number): void {
    this.#clock.after(afterMs, () =>
      this.#whenThawed(node, () => {
        // Whoever is connected again by now has nothing to be told.
        if (this.#links.between(node, peer.nodeId) === undefined) node.handlers.onDisconnected(peer.nodeId)
        this.dial(node)
      }),
    )
  }

  #named(nodeId: string): SimTransport[] {
    return [...this.#nodes].filter((node) => node.nodeId === nodeId)
  }

  #count(bytes: number): void {
    this.sent += 1
    this.sentBytes += bytes
    this.largestBytes = Math.max(this.largestBytes, bytes)
  }

  #deliver(from: SimTransport, to: SimTransport, bytes: number, arrive: () => void): void {
    this.#count(bytes)
    const arrives = (1 - this.loss) * (1 - (this.lossFrom.get(from.nodeId) ?? 0))
    if (this.#random.next() >= arrives) return
    const land = (): void => {
      if (this.#reaches(from, to)) this.#whenThawed(to, arrive)
    }
    const behindMs = this.#happens(this.reorder) ? REORDER_MS * this.#random.next() : 0
    this.#clock.after(this.#latency() + behindMs, land)
    if (this.#happens(this.duplicate)) this.#clock.after(this.#latency() + REORDER_MS * this.#random.next(), land)
  }

  /** Chance that costs nothing while there is none. */
  #happens(share: number): boolean {
    return share > 0 && this.#random.next() < share
  }

  #whenThawed(node: SimTransport, act: () => void): void {
    const actIfUp = (): void => {
      if (node.up) act()
    }
    if (!this.times.isFrozen(node.nodeId)) actIfUp()
    // A process that was stopped sees its timers before it reads its sockets.
    else void this.times.thawed(node.nodeId).then(() => this.#clock.after(this.#latency(), actIfUp))
  }

  /** Whether calls pass between two nodes, there and back. */
  isOpen(one: string, other: string): boolean {
    if (this.times.isFrozen(other)) return false
    const [from] = this.#named(one)
    const [to] = this.#named(other)
    return from !== undefined && to?.up === true && this.#reaches(from, to) && this.#reaches(to, from)
  }

  #reaches(one: SimTransport, other: SimTransport): boolean {
    return this.#cuts.passes(one.nodeId, other.nodeId)
  }

  #latency(): number {
    const [min, max] = this.#latencyMs
    return this.delayMs + Math.round(min + (max - min) * this.#random.next())
  }
}

/** Whether `from` knows an address at which `to` is now. */
function canDial(from: SimTransport, to: SimTransport): boolean {
  if (from.isSeed(to)) return true
  const known = from.known.get(to.nodeId)
  if (known === undefined) return false
  const real = to.own.map(placeOf)
  return known.some((address) => real.includes(placeOf(address)))
}

/** A multiaddress without whose it is. */
function placeOf(address: string): string {
  return address.replace(/\/p2p\/.*$/, '')
}
