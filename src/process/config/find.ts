import { z } from 'zod'
import { text } from '../../base/schema.ts'

export const find = z
  .strictObject({
    pid: z.int().positive().optional().describe('Process id'),
    pid_file: z.string().optional().describe('File that holds the process id'),
    name: z.string().optional().describe('Name of the executable, without its directory'),
    args: z.array(text).optional().describe('Each must be among the arguments of the process'),
    port: z
      .string()
      .regex(/^(tcp|udp)\/\d+$/, 'must be tcp/PORT or udp/PORT')
      .optional()
      .describe('Port the process listens on, such as tcp/5432'),
    service: z.string().optional().describe('systemd service'),
  })
  .superRefine((value, context) => {
    const ways = ['pid', 'pid_file', 'name', 'port', 'service'] as const
    const given = ways.filter((way) => value[way] !== undefined)
    if (given.length !== 1) context.addIssue({ code: 'custom', message: `must have exactly one of ${ways.join(', ')}` })
  })

export const allow = z.strictObject({
  signal: z.boolean().default(false).describe('People may send it signals through the node'),
})
