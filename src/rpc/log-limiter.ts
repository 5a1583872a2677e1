import type { Clock } from '../base/clock.ts'

/** Keys remembered at once; with more, the oldest may speak again early. */
const MAX_KEYS = 1_000

/** Says at most once in `intervalMs` per key that something may be logged. */
export function createLogLimiter(clock: Clock, intervalMs: number): (key: string) => boolean {
  const quietUntilMs = new Map<string, number>()
  return (key) => {
    if (clock.nowMs() < (quietUntilMs.get(key) ?? 0)) return false
    quietUntilMs.delete(key)
    quietUntilMs.set(key, clock.nowMs() + intervalMs)
    const [oldest] = quietUntilMs.keys()
    if (quietUntilMs.size > MAX_KEYS && oldest !== undefined) quietUntilMs.delete(oldest)
    return true
  }
}
