import * as z from 'zod'
import { duration, size } from '../../base/schema.ts'
import { forward } from './forward.ts'
import { PARSE_MODES } from '../logs/parse.ts'

/** Longer ones are rather a mistake, and slow. */
const MAX_PATTERN_CHARS = 1_000

const pattern = z
  .string()
  .max(MAX_PATTERN_CHARS)
  .transform((source, context) => {
    try {
      return new RegExp(source, 'u').source
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      context.addIssue({ code: 'custom', message: `'${source}' is not a regular expression: ${why}` })
      return z.NEVER
    }
  })

const patterns = z
  .union([pattern, z.array(pattern).max(100)])
  .transform((value) => (typeof value === 'string' ? [value] : value))

export const logs = z.strictObject({
  enabled: z.boolean().default(true).describe('false = the output goes to /dev/null'),
  max_size: size.prefault('10MiB').describe('Size at which a new file is begun'),
  keep: z.int().min(1).max(1_000).default(5).describe('Files to keep, the one being written included'),
  max_age: duration.optional().describe('Files whose last line is older are deleted'),
  compress: z.boolean().default(false).describe('true = full files are compressed with gzip'),
  backlog: size
    .prefault('256MiB')
    .describe('Raw output of a stream that may wait to be read; of more, the oldest is dropped and counted'),
  include: patterns.prefault([]).describe('Keep only lines that match one of these regular expressions'),
  exclude: patterns.prefault([]).describe('Drop lines that match one of these regular expressions'),
  forward: forward.default([]).describe('Where its lines are sent too'),
  parse: z.enum(PARSE_MODES).default('auto').describe('How the level and the message of a line are found'),
})
