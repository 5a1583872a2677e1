import type { RestartConfig } from './config.ts'

/**
 * How many times more crashes are borne, and how many times longer each wait is, after an exceeded limit. The numbers are
 * those of the Go project HSU began as, which multiplies `max_retries` and `retry_delay` by them.
 */
const FACTORS: Readonly<Record<RestartConfig['profile'], number>> = {
  web: 1,
  worker: 2,
  scheduler: 2.5,
  batch: 3,
  database: 5,
}

export function profileFactor({ profile }: RestartConfig): number {
  return FACTORS[profile]
}
