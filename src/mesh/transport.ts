import type { Service } from '../base/lifecycle.ts'

/** What a transport calls when something arrives. None of these may throw into the transport, and none does. */
export interface TransportHandlers {
  /** A peer asks; a rejection refuses that request and nothing else. */
  onRequest(from: string, bytes: Uint8Array): Promise<Uint8Array>
  /** A peer broadcast; `from` is who wrote it, not who passed it on. */
  onBroadcast(from: string, bytes: Uint8Array): void
  /** Whether a peer, whose identity is proven, may be connected; left out: all may. Asked for each connection. */
  admits?(peer: string): boolean
  /** The first connection to a peer is ready for requests and broadcasts. */
  onConnected(peer: string): void
  /** The last connection to a peer is gone. */
  onDisconnected(peer: string): void
}

/** One way in which other nodes may be found, and how it goes. */
export interface DiscoveryWay {
  readonly way: 'mdns' | 'seed' | 'remembered'
  /** The interface with its addresses, the seed as configured, or how many peers are remembered. */
  readonly where: string
  /** Why it does not work, in words; '' = as far as can be told it does. */
  readonly fault: string
  /** Ids of the peers found that way. Those that multicast tells of need not be members: anyone may speak there. */
  readonly found: readonly string[]
}

/** Carries bytes between the nodes of one mesh. Peers are named by their node id, never by an address. */
export interface Transport extends Service {
  /** The node id (libp2p peer id, base58btc) of this end. */
  readonly nodeId: string
  /** Multiaddresses at which others can reach this end now. */
  readonly addresses: () => readonly string[]
  /** Sets who is called; once, before `start`. */
  handle(handlers: TransportHandlers): void
  /** Best effort to all reachable nodes: may be lost, doubled or reordered. Never throws; a no-op when stopped. */
  broadcast(bytes: Uint8Array): void
  /**
   * One request, one response. Small ones share a stream, so that many cost little; none waits behind a large one.
   *
   * @throws HsuError NODE_UNREACHABLE when there is no connection to `peer` or it broke, TIMED_OUT when `signal` aborts.
   */
  request(peer: string, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  /** The peers with a connection that is ready, in no particular order. */
  connected(): readonly string[]
  /** Addresses to try for a peer; the transport keeps dialling known peers with backoff until they are forgotten. */
  learn(peer: string, addresses: readonly string[]): void
  /** How others are being found, for people; empty where there is nothing to find. */
  ways(): readonly DiscoveryWay[]
  /**
   * Whether the mesh takes the peer for dead. While it does, a connection that has not noticed (a cable is out, a host
   * lost its power) does not keep the transport from dialling the peer anew; what then opens takes the old one's place.
   */
  presume(peer: string, isDead: boolean): void
  /** Closes what connects this end to `peer`, in both directions. It is dialled again unless it is forgotten. Idempotent. */
  disconnect(peer: string): void
  /** Stops dialling `peer` and forgets its addresses. An open connection stays. Idempotent. */
  forget(peer: string): void
}
