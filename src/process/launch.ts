import { createHash } from 'node:crypto'
import { isAbsolute, resolve } from 'node:path'
import { toRfc3339 } from '../base/system-date.ts'
import type { UnitConfig } from './config.ts'
import type { SpawnRequest } from './host.ts'
import { expandTemplates, templateValues } from './templates.ts'

/** A unit as the node wants it run. */
export interface UnitSpec {
  readonly name: string
  readonly config: UnitConfig
  /** Relative working directories and programs start here: the directory of the config file, absolute. */
  readonly baseDir: string
  readonly variables: { readonly nodeName: string; readonly dataDir: string }
  /** Who attached it, in words; absent for a unit of the configuration. */
  readonly origin?: string
  /** Arguments of this start only, put behind those of `run` as they are. */
  readonly args?: readonly string[]
  /** Set when it is run once, as a job. */
  readonly run?: { readonly id: string; readonly tickMs: number | undefined }
}

/** What the environment of an instance depends on. */
export interface InstanceDescription {
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly kind: string
  readonly ports: Readonly<Record<string, number>>
}

/**
 * The variable by which the processes of an instance are known wherever they went: into a session of their own, under
 * another parent. Directories of instances differ between the nodes of a host, names of instances may not.
 */
export function markOf(directory: string): string {
  return `${MARK}=${directory}`
}

const MARK = 'HSU_INSTANCE_DIR'

/** The environment for a command about the instance that is to outlive its end. */
export function unmarked(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => name !== MARK))
}

/** What the node adds to the environment of an instance: HSU_NODE, HSU_INGRESS, HSU_CONTROL, OTEL_*... */
export type EnvironmentOf = (instance: InstanceDescription) => Readonly<Record<string, string>>

/** Changes of these keys need a new process; the others are taken over as it runs. */
const LAUNCH_KEYS = ['kind', 'run', 'cwd', 'user', 'env', 'env_inherit', 'ports'] as const

/** Equal for two specs whose processes would be started alike. A run, once begun, follows no change of configuration. */
export function launchHash({ config, baseDir, variables, run }: UnitSpec): string {
  if (run !== undefined) return `run ${run.id}`
  const launched: [string, unknown][] = LAUNCH_KEYS.map((key) => [key, config[key]])
  // What a process may have open is set for good before it begins.
  if (config.limits.files !== undefined) launched.push(['files', config.limits.files])
  // Only where it is not the rule, so that units that run are not started anew for a new key.
  if (!config.logs.enabled) launched.push(['logs.enabled', false])
  return createHash('sha256')
    .update(JSON.stringify([launched, baseDir, variables]))
    .digest('hex')
    .slice(0, 16)
}

/** The port a unit is reached at when nothing else is said: `grpc` of an integrated unit, else its first. */
export function mainPort(kind: string, ports: Readonly<Record<string, number>>): number | undefined {
  return (kind === 'integrated' ? ports['grpc'] : undefined) ?? Object.values(ports)[0]
}

/**
 * Everything the host needs to start the instance. Environment, later wins: inherited, HSU's, the node's, the unit's.
 *
 * @throws HsuError `CONFIG_INVALID` for an unknown template
 */
export function launchOf(
  spec: UnitSpec,
  instance: InstanceDescription,
  directory: string,
  nodeEnvironment: Readonly<Record<string, string>>,
  environmentOf: EnvironmentOf,
): SpawnRequest {
  const { config } = spec
  const values = templateValues({ ...instance, ...spec.variables })
  const own = Object.entries(config.env).map(([name, text]) => [name, expandTemplates(text, values)])
  return {
    unit: spec.name,
    directory,
    argv: [...(config.run ?? []).map((word) => expandTemplates(word, values)), ...(spec.args ?? [])],
    cwd: workingDirectory(spec),
    env: {
      PYTHONUNBUFFERED: '1',
      ...inherited(inheritable(config), nodeEnvironment),
      ...addedEnvironment(instance, environmentOf),
      ...runVariables(spec),
      ...(Object.fromEntries(own) as Record<string, string>),
      [MARK]: directory,
    },
    user: config.user,
    ...(config.logs.enabled ? {} : { discardsOutput: true }),
  }
}

/** What HSU and the node say to the instance of itself and of the node. The mark is not among it: it is of its processes alone. */
export function addedEnvironment(instance: InstanceDescription, environmentOf: EnvironmentOf): Record<string, string> {
  return { ...hsuVariables(instance), ...environmentOf(instance) }
}

/** Where the unit runs, absolute. */
export function workingDirectory({ config, baseDir }: UnitSpec): string {
  const cwd = config.cwd ?? '.'
  return isAbsolute(cwd) ? cwd : resolve(baseDir, cwd)
}

/** Variables that speak of the user; the host fills them in for another one. */
const OF_THE_USER = ['HOME', 'USER', 'LOGNAME', 'SHELL']

function inheritable({ user, env_inherit }: UnitConfig): readonly string[] {
  return user === undefined ? env_inherit : env_inherit.filter((name) => !OF_THE_USER.includes(name))
}

function inherited(names: readonly string[], from: Readonly<Record<string, string>>): Record<string, string> {
  const entries = names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]] as const]))
  return Object.fromEntries(entries)
}

function hsuVariables({ unit, instance, replica, kind, ports }: InstanceDescription): Record<string, string> {
  const main = mainPort(kind, ports)
  const named = Object.entries(ports).map(([name, port]) => [`HSU_PORT_${name.toUpperCase()}`, String(port)])
  return {
    HSU_UNIT: unit,
    HSU_INSTANCE: instance,
    HSU_REPLICA: String(replica),
    ...(Object.fromEntries(named) as Record<string, string>),
    ...(main === undefined ? {} : { PORT: String(main) }),
  }
}

/** By these a program can tell two runs apart, and two runs for one moment of its schedule. */
function runVariables({ run }: UnitSpec): Record<string, string> {
  if (run === undefined) return {}
  return { HSU_RUN: run.id, ...(run.tickMs === undefined ? {} : { HSU_TICK: toRfc3339(run.tickMs) }) }
}
