import type { Random } from '../../base/random.ts'

/** How much chance changes the order: an age counts between 1 - this and 1 + this times. */
const SPREAD = 0.25

/**
 * Chooses whom to ping: whoever was silent longest, give or take chance, so that nodes do not fall into step.
 *
 * SWIM (§4.3) goes through the members in random order instead. But a ping proves to the asked that the asker lives as
 * well as the other way round; counting both, each pair of n members is checked every (n - 1) / 2 periods, not
 * n - 1, by the same number of messages.
 */
export interface PingOrder {
  /** A member gave a sign of life of its own: it asked us something, or answered. */
  heard(nodeId: string, nowMs: number): void
  /** The last ping of a member proved nothing: it is due again. */
  recall(nodeId: string): void
  /**
   * The next of `candidates`; undefined when there is none. It counts as heard until it has been chosen again. Nobody who
   * was heard less than `quietMs` ago need be pinged: then `dueInMs` is above 0 and says when somebody is.
   */
  next(candidates: readonly string[], nowMs: number, quietMs: number): Choice | undefined
}

interface Choice {
  readonly nodeId: string
  readonly dueInMs: number
}

export function createPingOrder(random: Random): PingOrder {
  let heardAtMs = new Map<string, number>()
  return {
    heard(nodeId, nowMs) {
      if (heardAtMs.has(nodeId)) heardAtMs.set(nodeId, nowMs)
    },
    recall: (nodeId) => void heardAtMs.delete(nodeId),
    next(candidates, nowMs, quietMs) {
      // Only candidates are kept; one that is new was silent for ever.
      heardAtMs = new Map(candidates.map((nodeId) => [nodeId, heardAtMs.get(nodeId) ?? -Infinity]))
      let chosen: string | undefined
      let greatest = -1
      for (const [nodeId, atMs] of heardAtMs) {
        const age = (nowMs - atMs) * (1 + SPREAD * (2 * random.next() - 1))
        if (age <= greatest) continue
        chosen = nodeId
        greatest = age
      }
      if (chosen === undefined) return undefined
      const dueInMs = Math.max(0, quietMs - (nowMs - (heardAtMs.get(chosen) ?? 0)))
      if (dueInMs === 0) heardAtMs.set(chosen, nowMs)
      return { nodeId: chosen, dueInMs }
    },
  }
}
