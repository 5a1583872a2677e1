/** The worst a node can think of its own health; its timeouts are at most this many times longer. memberlist: 8. */
const MAX_SCORE = 7

/** How much later than asked a rest ends, in milliseconds, that counts as one point of bad health. */
const DELAY_PER_POINT_MS = 200

/**
 * How far a node trusts its own failure detector (Lifeguard §3.1): a node that is slow itself must not accuse others.
 * Pings that fail without any witness raise the score, pings that succeed lower it; while the last rest ended late, that adds to it.
 */
export interface Awareness {
  /** 1 = healthy. Ping period and timeouts are multiplied by it. Reading it changes nothing. */
  multiplier(): number
  /** Adds to the score: positive when something speaks against our own health, negative when something speaks for it. */
  note(points: number): void
  /** Says, once a round, how much later than it should this node went on, in milliseconds; counts until said again. */
  wasLate(ms: number): void
}

export function createAwareness(): Awareness {
  let score = 0
  let latePoints = 0
  return {
    multiplier: () => 1 + Math.min(MAX_SCORE, score + latePoints),
    note(points) {
      score = Math.min(MAX_SCORE, Math.max(0, score + points))
    },
    wasLate(ms) {
      latePoints = Math.floor(Math.max(0, ms) / DELAY_PER_POINT_MS)
    },
  }
}
