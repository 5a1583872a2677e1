import * as z from 'zod'
import { duration, percentage, size } from '../../base/schema.ts'

/** What can be done about a unit that uses more than it may. */
const action = z.enum(['log', 'alert', 'restart', 'stop', 'kill', 'throttle', 'raise'])

const actions = z.strictObject({
  memory: action.optional().describe('When memory is exceeded'),
  cpu: action.optional().describe('When cpu is exceeded'),
  pids: action.optional().describe('When pids is exceeded'),
  files: action.optional().describe('When files is exceeded'),
  io: action.optional().describe('When io.read and io.write is exceeded'),
})

export const limits = z.strictObject({
  memory: size.optional().describe('Memory of the whole tree'),
  cpu: z.number().positive().optional().describe('Cores'),
  pids: z.int().positive().optional().describe('Processes and threads'),
  files: z.int().positive().optional().describe('Open files of each process; with on_exceed, of the whole tree'),
  io: z
    .strictObject({
      read: size.optional().describe('Bytes read from disks in a second'),
      write: size.optional().describe('Bytes written to disks in a second'),
    })
    .optional()
    .describe('Traffic with disks, in a second'),
  warn: percentage.prefault('80%').describe('Part of a limit from which on it is said that the limit is near'),
  spike: duration.prefault('5s').describe('What lasts shorter than this is not even said'),
  sustained: duration
    .prefault('30s')
    .describe('How long a limit must be exceeded without a break before on_exceed is done'),
  on_exceed: z
    .union([action, actions])
    .optional()
    .describe(
      'What the node does when a limit is exceeded, for all limits or by limit: log, alert, restart, stop, kill, throttle or raise. Default: the kernel enforces the limit',
    ),
  raise_factor: z.number().gt(1).max(10).default(1.5).describe('By what a limit is multiplied with on_exceed: raise'),
})
