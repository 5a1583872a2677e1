import type { Clock } from './clock.ts'
import type { Random } from './random.ts'

export interface EveryOptions {
  readonly intervalMs: number
  /** Fraction of the interval added or removed at random, so that nodes do not fall into step. 0 = none. */
  readonly jitter: number
  readonly clock: Clock
  readonly random: Random
  readonly onError: (error: unknown) => void
}

/**
 * Runs `task`, rests, and repeats until `signal` aborts. Runs never overlap.
 * Resolves only after the last run has finished, so `await`ing it is a clean stop.
 */
export async function every(
  task: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
  options: EveryOptions,
): Promise<void> {
  const { intervalMs, jitter, clock, random, onError } = options
  while (!signal.aborted) {
    await task(signal).catch((error: unknown) => {
      if (!signal.aborted) onError(error)
    })
    const restMs = intervalMs * (1 + jitter * (2 * random.next() - 1))
    await clock.sleep(restMs, signal).catch(() => undefined)
  }
}
