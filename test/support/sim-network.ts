import type { Clock } from '../../src/base/clock.ts'
import { HsuError } from '../../src/base/error.ts'
import type { Random } from '../../src/base/random.ts'
import type { Transport, TransportHandlers } from '../../src/mesh/transport.ts'

export interface SimNetworkOptions {
  readonly clock: Clock
  readonly random: Random
  /** One-way delay of a message, uniform between the two. Default 1 to 5 ms. */
  readonly latencyMs?: readonly [min: number, max: number]
  /** Nodes find each other by themselves, as by mDNS. Default true; false: only who learnt an address dials. */
  readonly discovery?: boolean
  /** How long a connection lives across a partition before both ends give it up. Default 10 s. */
  readonly brokenAfterMs?: number
}

/** Two ends that can talk, until something closes it. */
interface Link {
  readonly ends: readonly [SimTransport, SimTransport]
  /** What to do for each request under way when the link closes. */
  readonly onClose: Set<() => void>
}

/**
 * A network in memory, with the faults of a real one: `partition`, `heal`, `loss`, `crash`, `freeze`, `thaw`.
 * Messages between connected nodes take a random time, may be lost, and overtake each other.
 */
export class SimNetwork {
  /** Probability that a message is lost, 0 to 1, one way. */
  loss = 0
  /** Messages that were sent, lost ones included. */
  sent = 0
  readonly #clock: Clock
  readonly #random: Random
  readonly #latencyMs: readonly [number, number]
  readonly #discovery: boolean
  readonly #brokenAfterMs: number
  readonly #nodes = new Map<string, SimTransport>()
  /** Each link under both of its ends. */
  readonly #links = new Map<SimTransport, Map<string, Link>>()
  readonly #dialling = new Set<string>()
  readonly #frozen = new Map<string, { thawed: Promise<void>; thaw: () => void }>()
  #groups = new Map<string, number>()
  #partitions = 0

  constructor({ clock, random, latencyMs = [1, 5], discovery = true, brokenAfterMs = 10_000 }: SimNetworkOptions) {
    this.#clock = clock
    this.#random = random
    this.#latencyMs = latencyMs
    this.#discovery = discovery
    this.#brokenAfterMs = brokenAfterMs
  }

  /** A transport for a node; a second one for the same id takes the place of the first, as after a restart. */
  transport(nodeId: string): SimTransport {
    const transport = new SimTransport(this, nodeId, this.#nodes.size + 1)
    this.#nodes.set(nodeId, transport)
    return transport
  }

  /** Time as the node feels it: while it is frozen, nothing wakes up. */
  clockOf(nodeId: string): Clock {
    const clock = this.#clock
    return {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      sleep: async (ms, signal) => {
        await clock.sleep(ms, signal)
        await this.#thawed(nodeId)
      },
    }
  }

  /** Cuts the network into groups, silently; nodes in none are together in one more. Replaces an earlier partition. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#groups = new Map(groups.flatMap((group, index) => group.map((nodeId) => [nodeId, index + 1])))
    this.#partitions += 1
    const partition = this.#partitions
    void this.#clock.sleep(this.#brokenAfterMs).then(() => {
      if (partition !== this.#partitions) return
      for (const node of this.#nodes.values()) {
        for (const link of this.#linksOf(node)) if (!this.#reaches(...link.ends)) this.#close(link)
      }
    })
  }

  heal(): void {
    this.#groups = new Map()
    this.#partitions += 1
    for (const node of this.#nodes.values()) this.dial(node)
  }

  /** Ends a node at once; its peers see the reset, unless a partition hides it from them for a while. */
  crash(nodeId: string): void {
    this.#nodes.get(nodeId)?.end()
  }

  /** Stops a node without ending it: connections stay, nothing is answered, what arrives waits. */
  freeze(nodeId: string): void {
    let thaw = (): void => undefined
    const thawed = new Promise<void>((resolve) => {
      thaw = resolve
    })
    this.#frozen.set(nodeId, { thawed, thaw })
  }

  thaw(nodeId: string): void {
    this.#frozen.get(nodeId)?.thaw()
    this.#frozen.delete(nodeId)
  }

  /** For transports: connects a node, after a while, to all who want that too. */
  dial(node: SimTransport): void {
    for (const other of this.#nodes.values()) if (other !== node) void this.#dialPair(node, other)
  }

  /** For transports: those that `node` has a link to. */
  peersOf(node: SimTransport): SimTransport[] {
    return this.#linksOf(node).map(({ ends }) => (ends[0] === node ? ends[1] : ends[0]))
  }

  /** For transports: closes the link between a node and a peer, if there is one. */
  disconnect(node: SimTransport, peer: string): void {
    const link = this.#links.get(node)?.get(peer)
    if (link !== undefined) this.#close(link)
  }

  /** For transports: closes all links of a node that ended. */
  hangUp(node: SimTransport): void {
    for (const link of this.#linksOf(node)) this.#close(link)
  }

  /** For transports: passes a broadcast on from hop to hop; each node gets it once. */
  flood(author: SimTransport, bytes: Uint8Array): void {
    const seen = new Set([author])
    const spread = (from: SimTransport): void => {
      for (const to of this.peersOf(from)) {
        if (seen.has(to)) continue
        void this.#deliver(from, to, () => {
          if (seen.has(to)) return
          seen.add(to)
          to.handlers.onBroadcast(author.nodeId, Uint8Array.from(bytes))
          spread(to)
        })
      }
    }
    spread(author)
  }

  /** For transports: one request, one response. */
  request(from: SimTransport, peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const link = this.#links.get(from)?.get(peer)
    if (signal.aborted) return Promise.reject(timedOut(peer))
    if (link === undefined) return Promise.reject(unreachable(peer))
    const to = link.ends[0] === from ? link.ends[1] : link.ends[0]
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
      void this.#deliver(from, to, () => {
        const answer = to.handlers.onRequest(from.nodeId, Uint8Array.from(bytes))
        answer.then(
          (response) =>
            void this.#deliver(
              to,
              from,
              done(() => resolve(Uint8Array.from(response))),
            ),
          () => void this.#deliver(to, from, close),
        )
      })
    })
  }

  async #dialPair(one: SimTransport, other: SimTransport): Promise<void> {
    const key = one.nodeId < other.nodeId ? `${one.nodeId} ${other.nodeId}` : `${other.nodeId} ${one.nodeId}`
    const wanted = (): boolean =>
      one.up &&
      other.up &&
      this.#links.get(one)?.has(other.nodeId) !== true &&
      this.#reaches(one, other) &&
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
    if (!wanted()) return
    const link: Link = { ends: [one, other], onClose: new Set() }
    this.#under(one).set(other.nodeId, link)
    this.#under(other).set(one.nodeId, link)
    void this.#whenThawed(one, () => one.handlers.onConnected(other.nodeId))
    void this.#whenThawed(other, () => other.handlers.onConnected(one.nodeId))
  }

  #knows(one: SimTransport, other: SimTransport): boolean {
    return this.#discovery || one.known.has(other.nodeId) || other.known.has(one.nodeId)
  }

  #close(link: Link): void {
    const [one, other] = link.ends
    this.#links.get(one)?.delete(other.nodeId)
    this.#links.get(other)?.delete(one.nodeId)
    for (const close of [...link.onClose]) close()
    void this.#notifyClosed(one, other)
    void this.#notifyClosed(other, one)
  }

  async #notifyClosed(node: SimTransport, peer: SimTransport): Promise<void> {
    // A reset does not cross a partition: then only silence tells, until the connection is given up.
    await this.#clock.sleep(peer.up || this.#reaches(node, peer) ? this.#latency() : this.#brokenAfterMs)
    await this.#whenThawed(node, () => node.handlers.onDisconnected(peer.nodeId))
    this.dial(node)
  }

  #linksOf(node: SimTransport): Link[] {
    return [...(this.#links.get(node)?.values() ?? [])]
  }

  #under(node: SimTransport): Map<string, Link> {
    const links = this.#links.get(node) ?? new Map<string, Link>()
    this.#links.set(node, links)
    return links
  }

  async #deliver(from: SimTransport, to: SimTransport, arrive: () => void): Promise<void> {
    this.sent += 1
    if (this.#random.next() < this.loss) return
    await this.#clock.sleep(this.#latency())
    if (this.#reaches(from, to)) await this.#whenThawed(to, arrive)
  }

  async #whenThawed(node: SimTransport, act: () => void): Promise<void> {
    const frozen = this.#frozen.has(node.nodeId)
    await this.#thawed(node.nodeId)
    // A process that was stopped sees its timers before it reads its sockets.
    if (frozen) await this.#clock.sleep(this.#latency())
    if (node.up) act()
  }

  async #thawed(nodeId: string): Promise<void> {
    await this.#frozen.get(nodeId)?.thawed
  }

  #reaches(one: SimTransport, other: SimTransport): boolean {
    return (this.#groups.get(one.nodeId) ?? 0) === (this.#groups.get(other.nodeId) ?? 0)
  }

  #latency(): number {
    const [min, max] = this.#latencyMs
    return Math.round(min + (max - min) * this.#random.next())
  }
}

/** One node's end of a `SimNetwork`. */
export class SimTransport implements Transport {
  readonly name = 'sim-transport'
  readonly nodeId: string
  /** Peers whose addresses were learnt and not forgotten. */
  readonly known = new Map<string, readonly string[]>()
  readonly #network: SimNetwork
  /** The mesh keys it has; two ends without a key in common do not connect. */
  keys: () => readonly Uint8Array[] = () => [new Uint8Array()]
  /** Multiaddresses; tests change them to move the node. */
  own: readonly string[]
  up = false
  handlers: TransportHandlers = {
    onRequest: () => Promise.reject(new HsuError('NOT_STARTED', 'nobody handles requests')),
    onBroadcast: () => undefined,
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  }

  constructor(network: SimNetwork, nodeId: string, number: number) {
    this.#network = network
    this.nodeId = nodeId
    this.own = [`/ip4/10.0.0.${number}/tcp/9471/p2p/${nodeId}`]
  }

  readonly addresses = (): readonly string[] => this.own

  handle(handlers: TransportHandlers): void {
    this.handlers = handlers
  }

  async start(): Promise<void> {
    this.up = true
    this.#network.dial(this)
  }

  async stop(): Promise<void> {
    this.end()
  }

  /** What `stop` and a crash have in common: from now on nothing comes in and nothing goes out. */
  end(): void {
    if (!this.up) return
    this.up = false
    this.#network.hangUp(this)
  }

  broadcast(bytes: Uint8Array): void {
    if (this.up) this.#network.flood(this, bytes)
  }

  async request(peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (!this.up) throw unreachable(peer)
    return this.#network.request(this, peer, bytes, signal)
  }

  connected(): readonly string[] {
    return this.up ? this.#network.peersOf(this).map(({ nodeId }) => nodeId) : []
  }

  learn(peer: string, addresses: readonly string[]): void {
    this.known.set(peer, addresses)
    this.#network.dial(this)
  }

  /** Links of this network that live are never dead without knowing it. */
  presume(): void {}

  ways(): readonly [] {
    return []
  }

  disconnect(peer: string): void {
    this.#network.disconnect(this, peer)
  }

  forget(peer: string): void {
    this.known.delete(peer)
  }
}

function shareKey(one: SimTransport, other: SimTransport): boolean {
  return one.keys().some((key) => other.keys().some((theirs) => Buffer.from(key).equals(theirs)))
}

function unreachable(peer: string): HsuError {
  return new HsuError('NODE_UNREACHABLE', `no connection to ${peer}`, { details: { nodeId: peer } })
}

function timedOut(peer: string): HsuError {
  return new HsuError('TIMED_OUT', `no answer from ${peer}`, { details: { nodeId: peer } })
}
