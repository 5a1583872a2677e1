import type { Random } from './random.ts'

export interface BackoffPolicy {
  readonly minMs: number
  readonly maxMs: number
  /** Growth from one attempt to the next; 2 = doubling. */
  readonly factor: number
  /** Fraction added or removed at random; 0.2 = up to 20 % either way. */
  readonly jitter: number
}

/**
 * How long to wait before attempt `attempt` (1 = the first retry):
 * `min(maxMs, minMs * factor^(attempt - 1)) * (1 ± jitter)`.
 */
export function backoffMs(attempt: number, policy: BackoffPolicy, random: Random): number {
  const { minMs, maxMs, factor, jitter } = policy
  const grown = Math.min(maxMs, minMs * factor ** Math.max(0, attempt - 1))
  return Math.round(grown * (1 + jitter * (2 * random.next() - 1)))
}
