import { resolve } from 'node:path'
import { arch, hostname, platform } from 'node:os'
import { HsuError, systemCode } from '../base/error.ts'
import type { Canary } from '../mesh/index.ts'
import type { UnitSpec } from '../process/index.ts'
import { type RouteConfig, WHOLE_SHARE } from '../rpc/index.ts'
import type { LineFileConfig } from './calls/line-file.ts'
import { conceal, type LoadedConfig, type NodeFileConfig, type NodeUnitConfig } from './config/index.ts'
import { parseMeshKeys } from './mesh-key.ts'
import type { PartitionPolicy } from './partition/config.ts'
import type { NodePaths } from './paths.ts'
import type { UnitListen } from './tcp/unit-listen.ts'

type MeshFileConfig = NonNullable<NodeFileConfig['mesh']>

/** The effective configuration and where each of its values comes from. */
export interface ConfigReport {
  readonly configJson: string
  readonly origins: Record<string, string>
}

/** All that a node needs to know before it starts; nothing in it is looked up again. */
export interface NodeSetup {
  readonly name: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  readonly paths: NodePaths
  readonly listen: NodeFileConfig['node']['listen']
  /** Undefined: this host alone. */
  readonly mesh:
    | { readonly config: MeshFileConfig; readonly keys: readonly Uint8Array[]; readonly keyFile: string }
    | undefined
  /** How much of what happened is kept. */
  readonly events: { readonly maxBytes: number; readonly maxAgeMs: number }
  /** Undefined: calls are not logged. */
  readonly accessLog: (LineFileConfig & { readonly sample: number }) | undefined
  /** Undefined: no spans are sent. */
  readonly traces: { readonly url: string; readonly headers: Readonly<Record<string, string>> } | undefined
  readonly units: readonly UnitSpec[]
  /** Services that the configuration names for a unit; undefined = ask the unit. */
  readonly servicesOf: (unit: string) => readonly string[] | undefined
  /** How calls to a unit of this node are routed; undefined = the defaults. */
  readonly routeOf: (unit: string) => RouteConfig | undefined
  /** What other nodes are told of how calls get to a unit of this node. */
  readonly termsOf: (unit: string) => { readonly canary?: Canary; readonly version?: string }
  /** Where connections are taken for units. */
  readonly listens: () => readonly UnitListen[]
  /** What becomes of a unit when nodes cannot reach each other. */
  readonly partitionOf: (unit: string) => PartitionPolicy
  readonly config: ConfigReport
}

export interface SetupSources {
  readonly loaded: LoadedConfig
  readonly paths: NodePaths
  readonly version: string
  /** Resolves a path of the configuration and reads it. */
  readonly readFile: (path: string) => Promise<string>
}

/** @throws HsuError CONFIG_INVALID when the mesh key cannot be read */
export async function prepareSetup({ loaded, paths, version, readFile }: SetupSources): Promise<NodeSetup> {
  const { config, baseDir } = loaded
  const { node, units } = config
  const variables = { nodeName: node.name, dataDir: paths.dataDir }
  return {
    name: node.name,
    version,
    labels: { os: platform(), arch: arch(), hostname: hostname(), ...node.labels },
    paths,
    listen: node.listen,
    events: { maxBytes: node.events.max_size, maxAgeMs: node.events.max_age },
    traces: node.traces && { url: tracesUrl(node.traces.otlp), headers: node.traces.headers },
    accessLog: accessLogOf(node.access_log, baseDir),
    mesh: config.mesh === undefined ? undefined : await meshSetup(config.mesh, baseDir, readFile),
    units: Object.entries(units).map(([name, unit]) => ({
      name,
      config: unit,
      baseDir,
      variables,
    })),
    servicesOf: (unit) => units[unit]?.services,
    routeOf: (unit) => units[unit]?.route,
    termsOf: (unit) => termsOf(units[unit]),
    listens: () =>
      Object.entries(units).flatMap(([unit, { listen }]) =>
        Object.entries(listen).map(([port, address]) => ({ unit, port, listen: address })),
      ),
    partitionOf: (unit) => units[unit]?.partition ?? 'keep',
    config: {
      configJson: JSON.stringify(conceal(loaded.effective)),
      origins: Object.fromEntries(loaded.origins),
    },
  }
}

function accessLogOf(config: NodeFileConfig['node']['access_log'], baseDir: string): NodeSetup['accessLog'] {
  const { to, sample, max_size, keep } = config
  if (to === 'off') return undefined
  return { to: to === 'stdout' ? to : resolve(baseDir, to), sample, maxBytes: max_size, keep }
}

function tracesUrl(base: string): string {
  return /\/v1\/traces\/?$/.test(base) ? base : `${base.replace(/\/+$/, '')}/v1/traces`
}

function termsOf(unit: NodeUnitConfig | undefined): { readonly canary?: Canary; readonly version?: string } {
  const { route, version } = unit ?? {}
  const canary = route?.canary
  return {
    ...(canary && { canary: { share: Math.round(canary.share * WHOLE_SHARE), headers: canary.headers } }),
    ...(version !== undefined && { version }),
  }
}

async function meshSetup(
  config: MeshFileConfig,
  baseDir: string,
  readFile: SetupSources['readFile'],
): Promise<NonNullable<NodeSetup['mesh']>> {
  const text = await readFile(config.key_file).catch((cause: unknown) => {
    const why = systemCode(cause) === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new HsuError(
      'CONFIG_INVALID',
      `mesh.key_file: ${config.key_file}: ${why}; make a key with hsu mesh create --out FILE, or copy that of the mesh`,
      { cause, details: { file: config.key_file } },
    )
  })
  return { config, keys: parseMeshKeys(text, config.key_file), keyFile: resolve(baseDir, config.key_file) }
}
