import { z } from 'zod'
import { size } from '../../base/schema.ts'

export const limits = z.strictObject({
  memory: size.optional().describe('Memory of the whole tree'),
  cpu: z.number().positive().optional().describe('Cores'),
  pids: z.int().positive().optional().describe('Processes and threads'),
  files: z.int().positive().optional().describe('Open files'),
  on_exceed: z
    .enum(['log', 'alert', 'restart', 'stop', 'kill', 'throttle', 'raise'])
    .optional()
    .describe('What to do when a limit is exceeded'),
})
