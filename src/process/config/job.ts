import * as z from 'zod'
import { duration } from '../../base/schema.ts'

/** Terms of a run that is a job: it has an end, and the end is its result. */
export const job = z.strictObject({
  deadline: duration
    .optional()
    .describe('Longest time of a run with all its retries; then it is stopped and failed with the reason timeout'),
  retries: z
    .int()
    .min(0)
    .max(1_000)
    .default(0)
    .describe('New attempts after an exit code other than 0, with the waits of restart.backoff'),
  concurrency: z
    .enum(['allow', 'forbid', 'replace'])
    .default('allow')
    .describe(
      'A run is due while one runs: allow = both run, forbid = the new one is left out, replace = the old one is stopped',
    ),
  history: z.int().min(1).max(1_000).default(20).describe('Ended runs that are remembered'),
})

export type JobTerms = Readonly<z.output<typeof job>>
export type Concurrency = JobTerms['concurrency']
