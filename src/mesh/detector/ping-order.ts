import { below, type Random } from '../../base/random.ts'

/**
 * Chooses whom to ping: everybody once, in random order, then all over again (SWIM §4.3), so that the time until a
 * given member is pinged is bounded by the number of members.
 */
export interface PingOrder {
  /** The next of `candidates`; undefined when there is none. */
  next(candidates: readonly string[]): string | undefined
}

export function createPingOrder(random: Random): PingOrder {
  let done = new Set<string>()
  return {
    next(candidates) {
      let left = candidates.filter((nodeId) => !done.has(nodeId))
      if (left.length === 0) {
        done = new Set()
        left = [...candidates]
      }
      const chosen = left[below(Math.max(1, left.length), random)]
      if (chosen !== undefined) done.add(chosen)
      return chosen
    },
  }
}
