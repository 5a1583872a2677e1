import { HsuError } from '../base/error.ts'
import type { Transport, TransportHandlers } from '../mesh/index.ts'

/** What a transport needs of the network it is plugged into. */
export interface Wire {
  /** Connects a node, after a while, to all who want that too. */
  dial(node: SimTransport): void
  hangUp(node: SimTransport): void
  flood(author: SimTransport, bytes: Uint8Array): void
  request(from: SimTransport, peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  peersOf(node: SimTransport): SimTransport[]
  disconnect(node: SimTransport, peer: string): void
}

/** One node's end of a `SimNetwork`. */
export class SimTransport implements Transport {
  readonly name = 'sim-transport'
  readonly nodeId: string
  /** Peers whose addresses were learnt and not forgotten. */
  readonly known = new Map<string, readonly string[]>()
  readonly #wire: Wire
  /** The mesh keys it has; two ends without a key in common do not connect. */
  keys: () => readonly Uint8Array[] = () => [new Uint8Array()]
  /** Multiaddresses; tests change them to move the node. */
  own: readonly string[]
  /** Asks and is heard by multicast DNS, where the network carries it. */
  mdns = true
  /** Whether one of the addresses it was told to try for ever is that of `other`. */
  isSeed: (other: SimTransport) => boolean = () => false
  up = false
  handlers: TransportHandlers = {
    onRequest: () => Promise.reject(new HsuError('NOT_STARTED', 'nobody handles requests')),
    onBroadcast: () => undefined,
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  }

  constructor(wire: Wire, nodeId: string, own: readonly string[]) {
    this.#wire = wire
    this.nodeId = nodeId
    this.own = own
  }

  readonly addresses = (): readonly string[] => this.own

  handle(handlers: TransportHandlers): void {
    this.handlers = handlers
  }

  async start(): Promise<void> {
    this.up = true
    this.#wire.dial(this)
  }

  async stop(): Promise<void> {
    this.end()
  }

  /** What `stop` and a crash have in common: from now on nothing comes in and nothing goes out. */
  end(): void {
    if (!this.up) return
    this.up = false
    this.#wire.hangUp(this)
  }

  broadcast(bytes: Uint8Array): void {
    if (this.up) this.#wire.flood(this, bytes)
  }

  async request(peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (!this.up) throw unreachable(peer)
    return this.#wire.request(this, peer, bytes, signal)
  }

  connected(): readonly string[] {
    return this.up ? this.#wire.peersOf(this).map(({ nodeId }) => nodeId) : []
  }

  learn(peer: string, addresses: readonly string[]): void {
    this.known.set(peer, addresses)
    this.#wire.dial(this)
  }

  /** Links of this network that live are never dead without knowing it. */
  presume(): void {}

  ways(): readonly [] {
    return []
  }

  disconnect(peer: string): void {
    this.#wire.disconnect(this, peer)
  }

  forget(peer: string): void {
    this.known.delete(peer)
  }
}

export function shareKey(one: SimTransport, other: SimTransport): boolean {
  return one.keys().some((key) => other.keys().some((theirs) => Buffer.from(key).equals(theirs)))
}

export function unreachable(peer: string): HsuError {
  return new HsuError('NODE_UNREACHABLE', `no connection to ${peer}`, { details: { nodeId: peer } })
}

export function timedOut(peer: string): HsuError {
  return new HsuError('TIMED_OUT', `no answer from ${peer}`, { details: { nodeId: peer } })
}
