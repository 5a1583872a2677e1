import type { Clock } from '../../base/clock.ts'

/** How long a new connection may take to carry gossip before the peer is reported all the same. */
const READY_MS = 500
const STEP_MS = 10

interface PresenceListener {
  onConnected(peer: string): void
  onDisconnected(peer: string): void
}

/**
 * Turns connections into news about peers: connected once a broadcast would reach the peer (a connection is open some
 * tens of milliseconds before gossip is), disconnected the moment the last connection is gone.
 */
export class Presence {
  readonly #clock: Clock
  readonly #isReady: (peer: string) => boolean
  readonly #listener: PresenceListener
  readonly #waiting = new Map<string, AbortController>()
  readonly #present = new Set<string>()

  constructor(clock: Clock, isReady: (peer: string) => boolean, listener: PresenceListener) {
    this.#clock = clock
    this.#isReady = isReady
    this.#listener = listener
  }

  peers(): string[] {
    return [...this.#present]
  }

  /** The first connection to the peer has opened. */
  arrived(peer: string): void {
    if (this.#present.has(peer) || this.#waiting.has(peer)) return
    const waiting = new AbortController()
    this.#waiting.set(peer, waiting)
    void this.#awaitGossip(peer, waiting.signal)
  }

  /** The last connection to the peer has closed. */
  departed(peer: string): void {
    this.#waiting.get(peer)?.abort()
    this.#waiting.delete(peer)
    if (this.#present.delete(peer)) this.#listener.onDisconnected(peer)
  }

  /** Ends every wait; nothing is reported from now on. */
  close(): void {
    for (const waiting of this.#waiting.values()) waiting.abort()
    this.#waiting.clear()
    this.#present.clear()
  }

  async #awaitGossip(peer: string, signal: AbortSignal): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + READY_MS
    while (!signal.aborted && !this.#isReady(peer) && this.#clock.nowMs() < deadlineMs) {
      await this.#clock.sleep(STEP_MS, signal).catch(() => undefined)
    }
    if (signal.aborted) return
    this.#waiting.delete(peer)
    this.#present.add(peer)
    this.#listener.onConnected(peer)
  }
}
