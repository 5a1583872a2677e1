import {
  formatMeshKeys,
  loadNodeConfig,
  type NodeSetup,
  type NodeSources,
  prepareSetup,
  systemPaths,
} from '../node/index.ts'
import { VERSION } from '../base/version.ts'

export interface SimSetup {
  readonly setup: NodeSetup
  /** One line each: what of the configuration is not simulated. */
  readonly notes: readonly string[]
}

/** In the simulator all who belong together have the same key: that of the user is not read. */
const KEY = formatMeshKeys([new Uint8Array(32).fill(1)])

/**
 * What a node of this name would be told by a configuration. Nothing but the configuration is read.
 *
 * @throws HsuError CONFIG_INVALID naming every fault
 */
export async function simSetup(sources: NodeSources, name: string): Promise<SimSetup> {
  const dataDir = `/sim/${name}`
  const env = { ...sources.env, HSU_NODE_NAME: name, HSU_DATA_DIR: dataDir }
  const loaded = await loadNodeConfig({ ...sources, env })
  const paths = systemPaths({ dataDir, cwd: '/', env: {} })
  const setup = await prepareSetup({ loaded, paths, version: VERSION, readFile: async () => KEY })
  const unmanaged = setup.units.filter(({ config }) => config.kind === 'unmanaged').map((spec) => spec.name)
  return {
    setup: {
      ...setup,
      labels: { ...setup.labels, hostname: name },
      units: setup.units
        .filter(({ config }) => config.kind !== 'unmanaged')
        .map((spec) => ({ ...spec, config: { ...spec.config, logs: { ...spec.config.logs, forward: [] } } })),
    },
    notes: [
      ...(unmanaged.length === 0 ? [] : [`unmanaged units are left out: ${unmanaged.join(', ')}`]),
      ...(setup.mesh === undefined ? ['the configuration has no mesh: each node works alone'] : []),
    ],
  }
}
