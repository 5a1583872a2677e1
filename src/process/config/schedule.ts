import * as z from 'zod'
import { duration } from '../../base/schema.ts'

const cron = z
  .string()
  .regex(/\S/, 'must not be empty')
  .max(200)
  .describe(
    'Minute, hour, day of month, month, day of week; a sixth field in front is the second; or @daily and the like',
  )

const timezone = z
  .string()
  .refine(isTimeZone, 'is not a time zone of this system; write one such as Europe/Vienna or UTC')
  .describe('Time zone of the cron expression, such as Europe/Vienna. Default: that of the host')

const terms = z.strictObject({
  cron,
  timezone: timezone.optional(),
  missed: z
    .enum(['skip', 'once'])
    .default('skip')
    .describe('Times that passed while no node could run it: skip = left out, once = one run for all of them'),
  scope: z
    .enum(['node', 'mesh'])
    .default('node')
    .describe('node = each node that has the unit runs it; mesh = one of them does'),
  jitter: duration.prefault('0s').describe('Longest random delay of each run, so that not all begin at once'),
})

export const schedule = z.union([cron.transform((line) => terms.parse({ cron: line })), terms])

/** When a unit runs by itself. */
export type ScheduleTerms = Readonly<z.output<typeof terms>>

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
