import * as z from 'zod'
import { duration } from '../../base/schema.ts'

export const idle = z.strictObject({
  stop_after: duration.prefault('10m').describe('Time without calls, connections or work after which it is stopped'),
  hold: duration.prefault('10s').describe('How long a call waits for it to start'),
  min: z.int().min(0).max(1_000).default(0).describe('How many of its replicas are never stopped for that'),
  cpu: z
    .number()
    .positive()
    .default(0.05)
    .describe('Cores. A unit that does not speak gRPC and uses more than this is at work'),
})

/** When a unit is put to sleep, and how it is woken; times in ms. */
export type IdleTerms = Readonly<z.output<typeof idle>>
