/** Chance, as far as HSU needs it. Tests pass a seeded one. Not for secrets: keys come from node:crypto. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
}

/** A whole number, uniform in [0, `below`). `below` is at least 1. */
export function below(limit: number, random: Random): number {
  return Math.floor(random.next() * limit)
}

/** Up to `count` different items, in random order. */
export function sample<T>(items: readonly T[], count: number, random: Random): T[] {
  const pool = [...items]
  const chosen: T[] = []
  while (chosen.length < count && pool.length > 0) {
    const index = below(pool.length, random)
    const last = pool.length - 1
    chosen.push(pool[index] as T)
    pool[index] = pool[last] as T
    pool.pop()
  }
  return chosen
}

/** All items in random order. */
export function shuffle<T>(items: readonly T[], random: Random): T[] {
  return sample(items, items.length, random)
}
