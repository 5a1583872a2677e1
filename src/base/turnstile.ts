/** Lets so many tasks run at once; the others wait for their turn, in the order in which they came. */
export interface Turnstile {
  /** Runs `task` when it is its turn. Resolves and rejects as it does. */
  pass<T>(task: () => Promise<T>): Promise<T>
}

export function createTurnstile(places: number): Turnstile {
  let free = places
  const waiting: (() => void)[] = []
  return {
    async pass(task) {
      if (free > 0) free -= 1
      else await new Promise<void>((resolve) => waiting.push(resolve))
      try {
        return await task()
      } finally {
        const next = waiting.shift()
        // The place goes from hand to hand: nobody who comes in between takes it.
        if (next === undefined) free += 1
        else next()
      }
    },
  }
}
