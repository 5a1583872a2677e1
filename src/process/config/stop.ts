import * as z from 'zod'
import { duration } from '../../base/schema.ts'
import { command } from './launch.ts'

export const stop = z.strictObject({
  signal: z
    .string()
    .transform((name) => `SIG${name.replace(/^SIG/, '')}`)
    .pipe(
      z.enum(['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGKILL'], {
        error: 'must be one of TERM, INT, QUIT, HUP, USR1, USR2, KILL',
      }),
    )
    .prefault('TERM')
    .describe('Signal that asks for the end: TERM, INT, QUIT, HUP, USR1, USR2 or KILL'),
  command: command
    .optional()
    .describe(
      'Command that asks for the end, run as the unit is, with HSU_PID; the signal follows when it has ended and the unit has not',
    ),
  grace: duration.prefault('10s').describe('Time from asking for the end to the kill'),
  drain: duration
    .prefault('5s')
    .describe(
      'Time for calls under way to end, once no caller chooses the unit any more and before it is asked to end',
    ),
})
