import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Random } from '../base/random.ts'
import type { LoopWatch, Transport, TransportHandlers } from '../mesh/index.ts'

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

/** A node that does nothing for the moment. */
interface Frozen {
  readonly sinceMs: number
  /** Its machine sleeps, so that its monotonic clock stands still. */
  readonly asleep: boolean
  readonly thawed: Promise<void>
  thaw(): void
}

/**
 * A network in memory, with the faults of a real one: `partition`, `cutOneWay`, `heal`, `loss`, `lossFrom`, `crash`,
 * and of its nodes: `freeze` and `thaw`, `stall`, `sleep` and `wake`, `skew`.
 * Messages between connected nodes take a random time, may be lost, and overtake each other.
 */
export class SimNetwork {
  /** Probability that a message is lost, 0 to 1, one way. */
  loss = 0
  /** The same for what one node sends, by node id; `loss` comes on top. */
  readonly lossFrom = new Map<string, number>()
  /** Messages that were sent, lost ones included. */
  sent = 0
  /** Their bytes, without what a real network puts around them. */
  sentBytes = 0
  /** Those of the largest. */
  largestBytes = 0
  readonly #clock: Clock
  readonly #random: Random
  readonly #latencyMs: readonly [number, number]
  readonly #discovery: boolean
  readonly #brokenAfterMs: number
  readonly #nodes = new Set<SimTransport>()
  /** Each link under both of its ends. */
  readonly #links = new Map<SimTransport, Map<string, Link>>()
  readonly #dialling = new Set<string>()
  readonly #frozen = new Map<string, Frozen>()
  /** How long each node was asleep in all. */
  readonly #sleptMs = new Map<string, number>()
  readonly #skewMs = new Map<string, number>()
  /** The longest stall of each node since it last asked. */
  readonly #stalledMs = new Map<string, number>()
  #groups = new Map<string, number>()
  /** `FROM TO` for each way that nothing passes. */
  #cuts = new Set<string>()
  #partitions = 0

  constructor({ clock, random, latencyMs = [1, 5], discovery = true, brokenAfterMs = 10_000 }: SimNetworkOptions) {
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
    const transport = new SimTransport(this, nodeId, this.#nodes.size + 1)
    if (!twin) for (const before of this.#named(nodeId)) this.#nodes.delete(before)
    this.#nodes.add(transport)
    return transport
  }

  /** Time as the node feels it: while it is frozen nothing wakes up, and while it is asleep no time passes for it. */
  clockOf(nodeId: string): Clock {
    const clock = this.#clock
    const nowMs = (): number => {
      const frozen = this.#frozen.get(nodeId)
      const untilMs = frozen?.asleep === true ? frozen.sinceMs : clock.nowMs()
      return untilMs - (this.#sleptMs.get(nodeId) ?? 0)
    }
    return {
      nowMs,
      wallMs: () => clock.wallMs() + (this.#skewMs.get(nodeId) ?? 0),
      sleep: async (ms, signal) => {
        const dueMs = nowMs() + Math.max(0, ms)
        do {
          await clock.sleep(Math.max(0, dueMs - nowMs()), signal)
          await this.#thawed(nodeId)
        } while (nowMs() < dueMs)
      },
    }
  }

  /** What the node sees of its own event loop: being frozen is a delay, being asleep is none. */
  loopOf(nodeId: string): LoopWatch {
    return {
      read: () => {
        const maxMs = this.#stalledMs.get(nodeId) ?? 0
        this.#stalledMs.delete(nodeId)
        return { maxMs }
      },
      stop: () => undefined,
    }
  }

  /** Cuts the network into groups, silently; nodes in none are together in one more. Replaces an earlier partition. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#groups = new Map(groups.flatMap((group, index) => group.map((nodeId) => [nodeId, index + 1])))
    this.#partitions += 1
    const partition = this.#partitions
    void this.#clock.sleep(this.#brokenAfterMs).then(() => {
      if (partition !== this.#partitions) return
      for (const node of this.#nodes) {
        for (const link of this.#linksOf(node)) if (!this.#reaches(...link.ends)) this.#close(link)
      }
    })
  }

  /** Silently loses all that `from` sends to `to`, until `heal`. Adds to what is cut already. */
  cutOneWay(from: readonly string[], to: readonly string[]): void {
    for (const one of from) for (const other of to) this.#cuts.add(`${one} ${other}`)
  }

  heal(): void {
    this.#groups = new Map()
    this.#cuts = new Set()
    this.#partitions += 1
    for (const node of this.#nodes) this.dial(node)
  }

  /** Ends a node at once; its peers see the reset, unless a partition hides it from them for a while. */
  crash(nodeId: string): void {
    for (const node of this.#named(nodeId)) node.end()
  }

  /** Stops a node without ending it: connections stay, nothing is answered, what arrives waits. */
  freeze(nodeId: string, asleep = false): void {
    if (this.#frozen.has(nodeId)) return
    let thaw = (): void => undefined
    const thawed = new Promise<void>((resolve) => {
      thaw = resolve
    })
    this.#frozen.set(nodeId, { sinceMs: this.#clock.nowMs(), asleep, thawed, thaw })
  }

  thaw(nodeId: string): void {
    const frozen = this.#frozen.get(nodeId)
    if (frozen === undefined) return
    this.#frozen.delete(nodeId)
    const ms = this.#clock.nowMs() - frozen.sinceMs
    const totals = frozen.asleep ? this.#sleptMs : this.#stalledMs
    totals.set(nodeId, frozen.asleep ? (totals.get(nodeId) ?? 0) + ms : Math.max(totals.get(nodeId) ?? 0, ms))
    frozen.thaw()
    for (const node of this.#named(nodeId)) this.dial(node)
  }

  /** The lid of a laptop: like `freeze`, but the clock of the node stands still too. `thaw` opens it. */
  sleep(nodeId: string): void {
    this.freeze(nodeId, true)
  }

  /** Blocks the event loop of a node for `ms`. */
  stall(nodeId: string, ms: number): void {
    if (this.#frozen.has(nodeId)) return
    this.freeze(nodeId)
    void this.#clock.sleep(ms).then(() => this.thaw(nodeId))
  }

  /** Sets the wall clock of a node `ms` off. */
  skew(nodeId: string, ms: number): void {
    this.#skewMs.set(nodeId, ms)
  }

  /** For transports: connects a node, after a while, to all who want that too. */
  dial(node: SimTransport): void {
    for (const other of this.#nodes) if (other.nodeId !== node.nodeId) void this.#dialPair(node, other)
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
        void this.#deliver(from, to, bytes.length, () => {
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
      void this.#deliver(from, to, bytes.length, () => {
        const answer = to.handlers.onRequest(from.nodeId, Uint8Array.from(bytes))
        answer.then(
          (response) =>
            void this.#deliver(
              to,
              from,
              response.length,
              done(() => resolve(Uint8Array.from(response))),
            ),
          () => void this.#deliver(to, from, 0, close),
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
    if (!wanted() || this.#frozen.has(one.nodeId) || this.#frozen.has(other.nodeId)) return
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

  #named(nodeId: string): SimTransport[] {
    return [...this.#nodes].filter((node) => node.nodeId === nodeId)
  }

  #linksOf(node: SimTransport): Link[] {
    return [...(this.#links.get(node)?.values() ?? [])]
  }

  #under(node: SimTransport): Map<string, Link> {
    const links = this.#links.get(node) ?? new Map<string, Link>()
    this.#links.set(node, links)
    return links
  }

  async #deliver(from: SimTransport, to: SimTransport, bytes: number, arrive: () => void): Promise<void> {
    this.sent += 1
    this.sentBytes += bytes
    this.largestBytes = Math.max(this.largestBytes, bytes)
    const arrives = (1 - this.loss) * (1 - (this.lossFrom.get(from.nodeId) ?? 0))
    if (this.#random.next() >= arrives) return
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
    if (this.#cuts.has(`${one.nodeId} ${other.nodeId}`)) return false
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
