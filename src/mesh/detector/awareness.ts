/** The worst a node can think of its own health; its timeouts are at most this many times longer. memberlist: 8. */
const MAX_SCORE = 7

/** Event-loop delay, in milliseconds, that counts as one point of bad health. */
const DELAY_PER_POINT_MS = 200

/**
 * How far a node trusts its own failure detector (Lifeguard §3.1): a node that is slow itself must not accuse others.
 * Pings that fail without any witness raise the score, pings that succeed lower it; a late event loop adds to it.
 */
export interface Awareness {
  /** 1 = healthy. Ping period and timeouts are multiplied by it. */
  multiplier(): number
  /** Adds to the score: positive when something speaks against our own health, negative when something speaks for it. */
  note(points: number): void
}

/** @param loopDelayMs how late the event loop lately was, in milliseconds */
export function createAwareness(loopDelayMs: () => number): Awareness {
  let score = 0
  return {
    multiplier: () => 1 + Math.min(MAX_SCORE, score + Math.floor(Math.max(0, loopDelayMs()) / DELAY_PER_POINT_MS)),
    note(points) {
      score = Math.min(MAX_SCORE, Math.max(0, score + points))
    },
  }
}
