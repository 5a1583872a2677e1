import * as z from 'zod'
import type { DeepReadonly } from '../base/schema.ts'
import { dependencies } from './config/dependencies.ts'
import { allow, checks, find } from './config/find.ts'
import { idle } from './config/idle.ts'
import { job } from './config/job.ts'
import { command, environment, port } from './config/launch.ts'
import { limits } from './config/limits.ts'
import { logs } from './config/logs.ts'
import { type probe, probes } from './config/probes.ts'
import { restart } from './config/restart.ts'
import { schedule } from './config/schedule.ts'
import { stop } from './config/stop.ts'
import { watch } from './config/watch.ts'

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
  logs: logs.prefault({}).describe('Each replica keeps at most max_size * keep bytes on disk'),
  activation: z
    .enum(['always', 'on-call', 'manual'])
    .default('always')
    .describe('When it is started: with the node, at the first call, or by hand'),
  idle: idle.optional().describe('Stop when nobody needs it; the next call starts it again'),
  watch: watch.optional().describe('Files whose changes restart it, or send it a signal'),
  job: job
    .optional()
    .describe('The unit is a job: not started with the node, run by `hsu run` or a schedule, done when it ends'),
  schedule: schedule.optional().describe('Run as a job at set times: a cron expression, or a map with more terms'),
  find: find.optional().describe('How to find the process of an unmanaged unit'),
  allow: allow.prefault({}).describe('What may be done to an unmanaged unit'),
  checks: checks.describe('How an unmanaged unit is, each check by a name: healthy, degraded or unhealthy'),
} as const

/** One unit as the supervisor takes it: the file's keys, durations in ms, sizes in bytes. */
export type UnitConfig = DeepReadonly<z.output<z.ZodObject<typeof unitShape, z.core.$strict>>>
export type ProbeConfig = DeepReadonly<z.output<typeof probe>>
export type RestartConfig = DeepReadonly<z.output<typeof restart>>
export type LimitsConfig = DeepReadonly<z.output<typeof limits>>
export type FindConfig = DeepReadonly<z.output<typeof find>>
export type StopSignal = UnitConfig['stop']['signal']

/** Rules that span several keys of one unit; `report` gets the path below the unit and the fault. */
export function checkUnit(unit: UnitConfig, report: (path: readonly string[], fault: string) => void): void {
  if (unit.kind === 'unmanaged') {
    if (unit.find === undefined) report(['find'], 'is required for an unmanaged unit')
    if (unit.run !== undefined) report(['run'], 'an unmanaged unit is found, not run; use kind: managed, or remove run')
    checkWatchingActions(unit, report)
    return
  }
  if (unit.run === undefined) report(['run'], `is required for a ${unit.kind} unit`)
  if (unit.find !== undefined) report(['find'], `is only for kind: unmanaged; this unit is ${unit.kind}`)
  if (unit.idle !== undefined && unit.activation === 'manual')
    report(['idle'], 'has no meaning for activation: manual; use on-call or always')
}

/** What is unmanaged is not ours to restart or to slow down: its limits are thresholds that are told of. */
function checkWatchingActions(
  { limits: { on_exceed } }: UnitConfig,
  report: (path: readonly string[], fault: string) => void,
): void {
  const actions = typeof on_exceed === 'object' ? Object.entries(on_exceed) : [['', on_exceed] as const]
  for (const [resource, action] of actions) {
    if (action === undefined || action === 'log' || action === 'alert') continue
    const below = resource === '' ? [] : [resource]
    report(['limits', 'on_exceed', ...below], 'must be log or alert: what is unmanaged is only watched')
  }
}
