import type { Clock } from '../../base/clock.ts'

/** Remembers for a moment what could not be reached, so that the next calls go elsewhere first. */
export interface Breaker {
  /** Opens for `key`: an instance, or a node whose link failed. */
  failed(key: string): void
  /** True while calls should avoid `key`. */
  isOpen(key: string): boolean
}

/** Long enough to spare the next calls a failed connect, short enough to find a unit that is back. */
const OPEN_MS = 1_000

/** Beyond this many keys the oldest is forgotten: a call too many to a dead unit is retried anyway. */
const MAX_KEYS = 1_000

/** A passive breaker: open for a second after a failure, then closed again. */
export function createBreaker(clock: Clock): Breaker {
  const openUntilMs = new Map<string, number>()
  return {
    failed(key) {
      openUntilMs.delete(key)
      openUntilMs.set(key, clock.nowMs() + OPEN_MS)
      const [oldest] = openUntilMs.keys()
      if (openUntilMs.size > MAX_KEYS && oldest !== undefined) openUntilMs.delete(oldest)
    },
    isOpen(key) {
      const untilMs = openUntilMs.get(key)
      if (untilMs === undefined) return false
      if (clock.nowMs() < untilMs) return true
      openUntilMs.delete(key)
      return false
    },
  }
}
