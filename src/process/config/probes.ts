import { z } from 'zod'
import { duration, text } from '../../base/schema.ts'
import { command } from './launch.ts'

const url = z.string().regex(/^https?:\/\/[^\s]+$/, 'must be an http:// or https:// address')

const NO_HEADERS: Record<string, string> = {}

const httpProbe = z
  .union([
    url.transform((address) => ({ url: address, method: 'GET', headers: NO_HEADERS })),
    z.strictObject({
      url: url.describe('Address to ask; templates such as {port.http} are filled in'),
      method: z.string().default('GET').describe('HTTP method'),
      headers: z.record(z.string(), text).default({}).describe('Headers to send'),
    }),
  ])
  .describe('Passing when the answer is 2xx')

/** How often to ask, how long to wait, and how many answers in a row change the verdict. */
export const probe = z
  .strictObject({
    process: z.literal(true).optional().describe('Passing while the process lives'),
    tcp: text.optional().describe('host:port or port that must accept a connection'),
    http: httpProbe.optional(),
    exec: command.optional().describe('Command that must exit 0 within the timeout'),
    grpc: z
      .string()
      .optional()
      .describe('Service name for grpc.health.v1; "" = the whole server; "/pkg.Service/Method" = any unary method'),
    every: duration.prefault('5s').describe('Time between two questions'),
    timeout: duration.prefault('1s').describe('How long one answer may take'),
    delay: duration
      .prefault('0s')
      .describe('Time after the start before the first question; for live, after the instance was first ready'),
    ok: z.int().min(1).default(1).describe('Good answers in a row that make it passing'),
    fail: z.int().min(1).default(3).describe('Bad answers in a row that make it failing'),
    enabled: z.boolean().default(true).describe('false = as if the probe were not there'),
  })
  .superRefine((value, context) => {
    const kinds = ['process', 'tcp', 'http', 'exec', 'grpc'] as const
    const given = kinds.filter((kind) => value[kind] !== undefined)
    if (given.length === 1) return
    context.addIssue({ code: 'custom', message: `must have exactly one of ${kinds.join(', ')}` })
  })

export const probes = z.strictObject({
  start: z
    .strictObject({
      within: duration.prefault('30s').describe('Time from spawn to ready before the start counts as failed'),
    })
    .prefault({})
    .describe('The start of an instance'),
  ready: probe.optional().describe('Failing = callers are not sent here'),
  live: probe.optional().describe('Failing = the instance is restarted'),
})
