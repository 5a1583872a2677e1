/** Counts the calls that are under way to each instance. Ingress and link server of a node share one. */
export interface InFlight {
  /** Counts `calls` more, or fewer. */
  add(instance: string, calls: number): void
  of(instance: string): number
  /** Calls to the instance so far, those under way among them; begins anew for one that was forgotten. */
  total(instance: string): number
  /** Resolves when no call to the instance is under way, at once if none is. @throws the signal's reason */
  drained(instance: string, signal: AbortSignal): Promise<void>
}

/** Instances that are remembered although no call to them is under way. */
const MAX_IDLE = 1_000

interface Count {
  underWay: number
  total: number
}

export function createInFlight(): InFlight {
  const counts = new Map<string, Count>()
  const waiting = new Map<string, Set<() => void>>()

  return {
    add(instance, calls) {
      const count = counts.get(instance) ?? begin(instance)
      count.underWay += calls
      if (calls > 0) count.total += calls
      if (count.underWay > 0) return
      // An instance without a call keeps its place: it will have one again.
      if (counts.size > MAX_IDLE) counts.delete(instance)
      if (waiting.size === 0) return
      const wakes = waiting.get(instance)
      waiting.delete(instance)
      for (const wake of wakes ?? []) wake()
    },

    of: (instance) => counts.get(instance)?.underWay ?? 0,

    total: (instance) => counts.get(instance)?.total ?? 0,

    async drained(instance, signal) {
      while ((counts.get(instance)?.underWay ?? 0) > 0) {
        signal.throwIfAborted()
        await zeroOf(instance, signal)
      }
    },
  }

  function begin(instance: string): Count {
    const count = { underWay: 0, total: 0 }
    counts.set(instance, count)
    return count
  }

  function zeroOf(instance: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wakes = waiting.get(instance) ?? new Set()
      waiting.set(instance, wakes)
      const wake = (): void => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = (): void => {
        wakes.delete(wake)
        if (wakes.size === 0 && waiting.get(instance) === wakes) waiting.delete(instance)
        reject(signal.reason as Error)
      }
      wakes.add(wake)
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }
}
