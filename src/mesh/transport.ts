import type { Service } from '../base/lifecycle.ts'

/** What a transport calls when something arrives. None of these may throw into the transport, and none does. */
export interface TransportHandlers {
  /** A peer asks; a rejection refuses that request and nothing else. */
  onRequest(from: string, bytes: Uint8Array): Promise<Uint8Array>
  /** A peer broadcast; `from` is who wrote it, not who passed it on. */
  onBroadcast(from: string, bytes: Uint8Array): void
  /** The first connection to a peer is ready for requests and broadcasts. */
  onConnected(peer: string): void
  /** The last connection to a peer is gone. */
  onDisconnected(peer: string): void
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
  /** Stops dialling `peer` and forgets its addresses. An open connection stays. Idempotent. */
  forget(peer: string): void
}
