import * as z from 'zod'
import { text } from '../../base/schema.ts'
import { probe } from './probes.ts'

export const find = z
  .strictObject({
    pid: z.int().positive().optional().describe('Process id; a later process of the same id is never taken for it'),
    pid_file: z.string().optional().describe('File that holds the process id'),
    name: z.string().optional().describe('Name of the executable, without its directory'),
    args: z.array(text).optional().describe('Each must be among the arguments of the process'),
    port: z
      .string()
      .regex(/^(tcp|udp)\/\d+$/, 'must be tcp/PORT or udp/PORT')
      .optional()
      .describe('Port the process listens on, such as tcp/5432'),
    service: z.string().optional().describe('systemd service; .service may be left out'),
  })
  .superRefine((value, context) => {
    const ways = ['pid', 'pid_file', 'name', 'port', 'service'] as const
    const given = ways.filter((way) => value[way] !== undefined)
    if (given.length !== 1) context.addIssue({ code: 'custom', message: `must have exactly one of ${ways.join(', ')}` })
  })

export const allow = z.strictObject({
  signal: z.boolean().default(false).describe('People may send it signals through the node'),
})

const check = probe.superRefine((value, context) => {
  if (value.log === undefined) return
  const message = 'is for units whose output the node has; a check of an unmanaged unit cannot see it'
  context.addIssue({ code: 'custom', path: ['log'], message })
})

/** `ready` is the name of the check in `probes.ready`. */
export const checks = z
  .record(
    z
      .string()
      .regex(/^[a-z][a-z0-9_-]*$/, 'must be a name of lower case letters, digits, - and _')
      .refine((name) => name !== 'ready', 'is the name of the check in probes.ready; choose another'),
    check,
  )
  .default({})
