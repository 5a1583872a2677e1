import { z } from 'zod'
import { type DeepReadonly, duration, durationRange, percentage, size, text } from '../base/schema.ts'
import { splitCommand } from './command-line.ts'

/** Unit names appear in paths, metadata and environment variables, so they are kept plain. */
export const UNIT_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

const commandLine = z
  .string()
  .regex(/\S/, 'must not be empty')
  .transform((line) => splitCommand(line))

const command = z
  .union([z.array(text).min(1), commandLine])
  .describe('Program and arguments. A list is taken as it is; a string is split as a shell would, without a shell')

const environment = z
  .union([
    z.record(z.string().regex(/^[^=]+$/, 'must be a name without ='), text),
    z
      .array(z.string().regex(/^[^=]+=/, 'must be NAME=value'))
      .transform((entries) => Object.fromEntries(entries.map(splitEntry))),
  ])
  .describe('Environment of the unit, as a map or as a list of NAME=value')

function splitEntry(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=')
  return [entry.slice(0, at), entry.slice(at + 1)]
}

const port = z.int().min(1).max(65_535)

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
const probe = z
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

const probes = z.strictObject({
  start: z
    .strictObject({
      within: duration.prefault('30s').describe('Time from spawn to ready before the start counts as failed'),
    })
    .prefault({})
    .describe('The start of an instance'),
  ready: probe.optional().describe('Failing = callers are not sent here'),
  live: probe.optional().describe('Failing = the instance is restarted'),
})

const restart = z.strictObject({
  policy: z
    .enum(['no', 'on-failure', 'always', 'unless-stopped'])
    .default('on-failure')
    .describe('Which ends are followed by a new start; on-failure = an exit code other than 0, or a signal'),
  backoff: durationRange.prefault('500ms..60s').describe('First and longest wait before a restart; doubles in between'),
  jitter: percentage.prefault('20%').describe('Random part of each wait'),
  reset_after: duration.prefault('60s').describe('Time up after which past crashes are forgotten'),
  give_up: z
    .string()
    .transform((text, context) => {
      const match = /^(\d+)\/(.+)$/.exec(text)
      const windowMs = duration.safeParse(match?.[2] ?? '')
      if (match !== null && windowMs.success) return { crashes: Number(match[1]), windowMs: windowMs.data }
      context.addIssue({ code: 'custom', message: `'${text}' must be crashes/time, such as "5/5m"` })
      return z.NEVER
    })
    .prefault('5/5m')
    .describe('Crashes within a time after which the unit is failed'),
  then: z
    .string()
    .transform((text, context) => {
      if (text === 'stop') return { retryMs: undefined }
      const retryMs = duration.safeParse(text.replace(/^retry /, ''))
      if (text.startsWith('retry ') && retryMs.success) return { retryMs: retryMs.data }
      context.addIssue({
        code: 'custom',
        message: `'${text}' must be "stop" or "retry" and a duration, such as "retry 10m"`,
      })
      return z.NEVER
    })
    .prefault('retry 10m')
    .describe('What a failed unit does: stay down, or try once more after a time'),
})

const stop = z.strictObject({
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
  grace: duration.prefault('10s').describe('Time between the signal and the kill'),
  drain: duration.prefault('500ms').describe('Time for the news to spread before the signal, for units with services'),
})

const limits = z.strictObject({
  memory: size.optional().describe('Memory of the whole tree'),
  cpu: z.number().positive().optional().describe('Cores'),
  pids: z.int().positive().optional().describe('Processes and threads'),
  files: z.int().positive().optional().describe('Open files'),
  on_exceed: z
    .enum(['log', 'alert', 'restart', 'stop', 'kill', 'throttle', 'raise'])
    .optional()
    .describe('What to do when a limit is exceeded'),
})

const dependency = z.strictObject({
  condition: z.enum(['started', 'healthy', 'completed']).default('healthy').describe('What the other unit must be'),
  scope: z.enum(['node', 'mesh']).default('node').describe('Where the other unit may run'),
  timeout: duration.prefault('60s').describe('How long to wait before it is reported as late; it is still waited for'),
})

const dependencies = z.union([
  z.record(z.string(), dependency),
  z.array(z.string()).transform((names) => Object.fromEntries(names.map((name) => [name, dependency.parse({})]))),
])

const find = z
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

/** The keys of a unit that concern its process. The node adds those of the other floors. */
export const unitShape = {
  kind: z
    .enum(['managed', 'unmanaged', 'integrated'])
    .default('managed')
    .describe('managed = run by the node; integrated = that, and it speaks gRPC; unmanaged = found and watched only'),
  run: command.optional(),
  cwd: z.string().optional().describe('Default: the directory of the config file'),
  user: z.string().optional().describe('Run as this user; needs root'),
  env: environment.prefault({}),
  env_inherit: z
    .array(z.string())
    .default(['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SHELL'])
    .describe("Variables of the node's own environment that the unit gets too"),
  ports: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_]*$/, 'must be a name of lower case letters, digits and _'),
      z.union([z.literal('auto'), port]),
    )
    .default({})
    .describe('Ports by name; auto = a free one, chosen anew at each start'),
  replicas: z.int().min(0).max(1_000).default(1).describe('How many instances run side by side'),
  depends_on: dependencies.prefault({}).describe('Units that come first, as a list of names or as a map'),
  probes: probes.prefault({}).describe('How the node knows that an instance is ready, and that it is well'),
  restart: restart.prefault({}).describe('What happens after an instance ended by itself'),
  stop: stop.prefault({}).describe('How an instance is ended'),
  limits: limits.prefault({}).describe('What one instance may use'),
  logs: z
    .strictObject({
      max_size: size.prefault('10MiB').describe('Size at which a new file is begun'),
      keep: z.int().min(1).max(1_000).default(5).describe('Files to keep'),
    })
    .prefault({})
    .describe('Each replica keeps at most max_size * keep bytes on disk'),
  activation: z
    .enum(['always', 'on-call', 'manual'])
    .default('always')
    .describe('When it is started: with the node, at the first call, or by hand'),
  find: find.optional().describe('How to find the process of an unmanaged unit'),
  allow: z
    .strictObject({ signal: z.boolean().default(false).describe('People may send it signals through the node') })
    .prefault({})
    .describe('What may be done to an unmanaged unit'),
} as const

/** One unit as the supervisor takes it: the file's keys, durations in ms, sizes in bytes. */
export type UnitConfig = DeepReadonly<z.output<z.ZodObject<typeof unitShape, z.core.$strict>>>
export type ProbeConfig = DeepReadonly<z.output<typeof probe>>
export type RestartConfig = DeepReadonly<z.output<typeof restart>>
export type FindConfig = DeepReadonly<z.output<typeof find>>
export type StopSignal = UnitConfig['stop']['signal']

/** Rules that span several keys of one unit; `report` gets the path below the unit and the fault. */
export function checkUnit(unit: UnitConfig, report: (path: readonly string[], fault: string) => void): void {
  if (unit.kind === 'unmanaged') {
    if (unit.find === undefined) report(['find'], 'is required for an unmanaged unit')
    if (unit.run !== undefined) report(['run'], 'an unmanaged unit is found, not run; use kind: managed, or remove run')
    return
  }
  if (unit.run === undefined) report(['run'], `is required for a ${unit.kind} unit`)
  if (unit.find !== undefined) report(['find'], `is only for kind: unmanaged; this unit is ${unit.kind}`)
}
