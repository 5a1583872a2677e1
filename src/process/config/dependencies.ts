import { z } from 'zod'
import { duration } from '../../base/schema.ts'

const dependency = z.strictObject({
  condition: z.enum(['started', 'healthy', 'completed']).default('healthy').describe('What the other unit must be'),
  scope: z.enum(['node', 'mesh']).default('node').describe('Where the other unit may run'),
  timeout: duration.prefault('60s').describe('How long to wait before it is reported as late; it is still waited for'),
})

export const dependencies = z.union([
  z.record(z.string(), dependency),
  z.array(z.string()).transform((names) => Object.fromEntries(names.map((name) => [name, dependency.parse({})]))),
])
