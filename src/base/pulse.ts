import type { Clock } from './clock.ts'
import type { Random } from './random.ts'

export interface PulseOptions {
  /** The shortest rest, and how soon at most a step follows after `hurry`. */
  readonly busyMs: number
  /** The longest rest. */
  readonly calmMs: number
  /** Fraction of a rest added or removed at random, so that nodes do not fall into step. */
  readonly jitter: number
  readonly clock: Clock
  readonly random: Random
  readonly onError: (error: unknown) => void
}

/** A loop that looks often while there is something to do, and rarely while there is not. */
export interface Pulse {
  /** Something has happened: the next step comes within `busyMs`. Many calls are one. */
  hurry(): void
  /** Runs the steps until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

/** @param step does what is due and says in how many milliseconds something is due again; called one at a time */
export function createPulse(step: () => number, options: PulseOptions): Pulse {
  const { busyMs, calmMs, jitter, clock, random, onError } = options
  let isHurried = false
  let resting: AbortController | undefined

  const hurried = (): boolean => isHurried

  function stepped(): number {
    try {
      return Math.min(calmMs, Math.max(busyMs, step()))
    } catch (error) {
      onError(error)
      return busyMs
    }
  }

  async function rest(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    resting = new AbortController()
    await clock.sleep(ms * (1 + jitter * (2 * random.next() - 1)), resting.signal).catch(() => undefined)
    resting = undefined
  }

  return {
    hurry() {
      if (isHurried) return
      isHurried = true
      resting?.abort()
    },
    async run(signal) {
      const stop = (): void => resting?.abort()
      signal.addEventListener('abort', stop)
      while (!signal.aborted) {
        isHurried = false
        const ms = stepped()
        if (!hurried()) await rest(ms, signal)
        // What cut the rest short is dealt with together with what follows at once.
        if (hurried()) await rest(busyMs, signal)
      }
      signal.removeEventListener('abort', stop)
    },
  }
}
