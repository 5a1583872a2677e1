import * as z from 'zod'
import { duration, text } from '../../base/schema.ts'
import { command } from './launch.ts'
import { linePattern } from './pattern.ts'

const url = z.string().regex(/^https?:\/\/[^\s]+$/, 'must be an http:// or https:// address')

const NO_HEADERS: Record<string, string> = {}

const httpProbe = z
  .union([
    url.transform((address) => ({ url: address, method: 'GET', headers: NO_HEADERS, socket: undefined })),
    z.strictObject({
      url: url.describe('Address to ask; templates such as {port.http} are filled in'),
      method: z.string().default('GET').describe('HTTP method'),
      headers: z.record(z.string(), text).default({}).describe('Headers to send'),
      socket: z
        .string()
        .min(1)
        .optional()
        .describe('Unix socket to ask through instead of the host and port of the address; relative to cwd'),
    }),
  ])
  .describe('Passing when the answer is 2xx')

/** The ways to ask an instance; a probe has exactly one. */
const KINDS = {
  process: z.literal(true).optional().describe('Passing while the process lives'),
  tcp: text.optional().describe('host:port, port or unix:PATH that must accept a connection'),
  http: httpProbe.optional(),
  exec: command
    .optional()
    .describe('Command that must exit 0 within the timeout; at the timeout all it started is killed'),
  grpc: z
    .string()
    .optional()
    .describe('Service name for grpc.health.v1; "" = the whole server; "/pkg.Service/Method" = any unary method'),
  log: linePattern
    .optional()
    .describe('Regular expression; passing once a line the instance wrote since its start has matched. Not for live'),
  file: z.string().min(1).optional().describe('File that must exist; relative to cwd'),
} as const

const PACE = {
  timeout: duration.prefault('1s').describe('How long one answer may take'),
  ok: z.int().min(1).default(1).describe('Good answers in a row that make it passing'),
  owner: z
    .enum(['own', 'any'])
    .default('own')
    .describe(
      "For tcp and grpc on a port of the unit: own = a process of the unit must listen there; any = whoever does, such as a container's proxy",
    ),
  enabled: z.boolean().default(true).describe('false = as if the probe were not there'),
} as const

type KindName = keyof typeof KINDS
const KIND_NAMES = Object.keys(KINDS) as KindName[]

interface Judged extends Partial<Record<KindName, unknown>> {
  readonly owner: 'own' | 'any'
}

function kindsOf(value: Judged): readonly KindName[] {
  return KIND_NAMES.filter((kind) => value[kind] !== undefined)
}

function checkOwner(value: Judged, context: z.RefinementCtx): void {
  if (value.owner === 'own' || value.tcp !== undefined || value.grpc !== undefined) return
  context.addIssue({ code: 'custom', path: ['owner'], message: 'is for the kinds that ask a port: tcp and grpc' })
}

/** How often to ask, how long to wait, and how many answers in a row change the verdict. */
export const probe = z
  .strictObject({
    ...KINDS,
    every: duration.prefault('5s').describe('Time between two questions'),
    ...PACE,
    delay: duration
      .prefault('0s')
      .describe(
        'Time before the first question: for ready, after the start (or after the start probe passed); for live, after the instance was first ready',
      ),
    fail: z.int().min(1).default(3).describe('Bad answers in a row that make it failing'),
  })
  .superRefine((value, context) => {
    checkOwner(value, context)
    if (kindsOf(value).length === 1) return
    context.addIssue({ code: 'custom', message: `must have exactly one of ${KIND_NAMES.join(', ')}` })
  })

const live = probe.superRefine((value, context) => {
  if (value.log === undefined) return
  const message = 'is for start and ready: a line that was written stays written, so it can never fail'
  context.addIssue({ code: 'custom', path: ['log'], message })
})

const start = z
  .strictObject({
    within: duration.prefault('30s').describe('Time from spawn to ready before the start counts as failed'),
    ...KINDS,
    every: duration.prefault('500ms').describe('Time between two questions'),
    ...PACE,
    delay: duration.prefault('0s').describe('Time after the start before the first question'),
    fail: z
      .int()
      .min(1)
      .optional()
      .describe('Bad answers in a row after which the start has failed; default: only within ends it'),
  })
  .superRefine((value, context) => {
    checkOwner(value, context)
    if (kindsOf(value).length <= 1) return
    context.addIssue({ code: 'custom', message: `must have at most one of ${KIND_NAMES.join(', ')}` })
  })

export const probes = z.strictObject({
  start: start.prefault({}).describe('The start of an instance: until its probe passed, ready and live are not asked'),
  ready: probe.optional().describe('Failing = callers are not sent here'),
  live: live.optional().describe('Failing = the instance is restarted'),
})
