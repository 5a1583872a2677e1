import { posix } from 'node:path'
import { HsuError } from '../../src/base/error.ts'
import { type LoadedConfig, loadConfig } from '../../src/node/config/index.ts'

export interface ConfigCase {
  /** By name, relative to the directory the configuration is loaded from. */
  readonly files: Readonly<Record<string, string>>
  /** As given with -f. */
  readonly named?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly hostname?: string
}

/** The directory that the files of a case lie in. */
export const CONFIG_DIR = '/etc/plant'

/** Loads a configuration from files in memory; a text alone is `hsu.yaml`. */
export function load(given: string | ConfigCase): Promise<LoadedConfig> {
  const {
    files,
    named = [],
    env = {},
    hostname = 'edge-a',
  } = typeof given === 'string' ? { files: { 'hsu.yaml': given } } : given
  const readFile = async (path: string): Promise<string> => {
    const text = files[posix.relative(CONFIG_DIR, path)]
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' })
    return text
  }
  return loadConfig({ files: named, env, cwd: CONFIG_DIR }, { readFile, hostname, version: '0.1.0' })
}

/** The lines of the error that loading gives; empty when it gives none. */
export async function faultsOf(given: string | ConfigCase): Promise<readonly string[]> {
  return (await failureOf(given))?.message.split('\n') ?? []
}

/** The error that loading gives. */
export async function failureOf(given: string | ConfigCase): Promise<HsuError | undefined> {
  try {
    await load(given)
    return undefined
  } catch (error) {
    if (error instanceof HsuError) return error
    throw error
  }
}
