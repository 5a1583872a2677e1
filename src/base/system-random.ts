import type { Random } from './random.ts'

/** The engine's own generator. */
export const systemRandom: Random = { next: () => Math.random() }
