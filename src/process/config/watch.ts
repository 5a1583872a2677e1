import * as z from 'zod'
import { duration } from '../../base/schema.ts'

const glob = z.string().min(1, 'must not be empty')

const globs = z.array(glob).min(1)

/** Signals that a program may take as a word to read its files anew. */
const signal = z
  .string()
  .transform((name) => `SIG${name.replace(/^SIG/, '')}`)
  .pipe(
    z.enum(['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGTERM', 'SIGQUIT'], {
      error: 'must be one of HUP, USR1, USR2, INT, TERM, QUIT',
    }),
  )

const whole = z.strictObject({
  paths: globs.describe('Globs of files, relative to the working directory of the unit'),
  ignore: z.array(glob).default([]).describe('Globs of what does not matter; .git and node_modules never do'),
  on_change: z
    .enum(['restart', 'reload', 'signal'])
    .default('restart')
    .describe('restart = a new start; reload, signal = the signal, the program goes on'),
  signal: signal.prefault('HUP').describe('Signal of reload and signal: HUP, USR1, USR2, INT, TERM or QUIT'),
  debounce: duration
    .prefault('300ms')
    .describe(
      'Quiet time after the last change before something is done; of changes without end, at most 1.5s is waited for',
    ),
})

/** Which files concern a unit, and what their changes bring about. */
export const watch = z.union([globs.transform((paths) => whole.parse({ paths })), whole])
