import { constants } from 'node:os'
import * as z from 'zod'
import { duration, durationRange, percentage } from '../../base/schema.ts'

/** `143`, `TERM` or `SIGTERM`; signals by their full name in code. */
const successfulEnd = z.union([
  z.int().min(0).max(255),
  z
    .string()
    .transform((text) => `SIG${text.toUpperCase().replace(/^SIG/, '')}`)
    .refine((name) => Object.hasOwn(constants.signals, name), 'must be an exit code or a signal, such as 3 or TERM'),
])

export const restart = z.strictObject({
  policy: z
    .enum(['no', 'on-failure', 'always', 'unless-stopped'])
    .default('on-failure')
    .describe('Which ends are followed by a new start; on-failure = those that are not in `success`'),
  success: z
    .array(successfulEnd)
    .min(1)
    .default([0])
    .describe('Exit codes and signals that are a success: `[0, 143, TERM]`. Any other end is a crash'),
  profile: z
    .enum(['batch', 'web', 'database', 'worker', 'scheduler'])
    .default('web')
    .describe(
      'Kind of work. After an exceeded limit, give_up takes so many times more crashes, and each wait is so many times longer: web 1, worker 2, scheduler 2.5, batch 3, database 5',
    ),
  backoff: durationRange.prefault('500ms..60s').describe('First and longest wait before a restart; doubles in between'),
  jitter: percentage.prefault('20%').describe('Random part of each wait'),
  reset_after: duration.prefault('60s').describe('Time up after which past crashes are forgotten'),
  give_up: z
    .string()
    .transform((text, context) => {
      const match = /^(\d+)\/(.+)$/.exec(text)
      const windowMs = duration.safeParse(match?.[2] ?? '')
      if (match !== null && windowMs.success) return { crashes: Number(match[1]), windowMs: windowMs.data }
      context.addIssue({ code: 'custom', message: `'${text}' must be crashes/time, such as "5/5m"` })
      return z.NEVER
    })
    .prefault('5/5m')
    .describe('Crashes within a time after which the unit is failed'),
  then: z
    .string()
    .transform((text, context) => {
      if (text === 'stop') return { retryMs: undefined }
      const retryMs = duration.safeParse(text.replace(/^retry /, ''))
      if (text.startsWith('retry ') && retryMs.success) return { retryMs: retryMs.data }
      context.addIssue({
        code: 'custom',
        message: `'${text}' must be "stop" or "retry" and a duration, such as "retry 10m"`,
      })
      return z.NEVER
    })
    .prefault('retry 10m')
    .describe('What a failed unit does: stay down, or try once more after a time'),
})
