import type { EjectionConfig, RouteConfig } from './config.ts'

/** What holds for a unit that says nothing. Written out, so that the thread of calls needs no schema for it. */
export const DEFAULT_ROUTE: RouteConfig = {
  policy: 'least-request',
  prefer: 'host',
  spill_over: 100,
  retries: 2,
  retry_budget: { ratio: 0.2, min_per_second: 10 },
  limits: {},
  methods: {},
}

/** For a unit that does not say who is ejected. */
export const DEFAULT_EJECTION: EjectionConfig = { failures: 5, time: { minMs: 1_000, maxMs: 60_000 }, max_share: 0.5 }
