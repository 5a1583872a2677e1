import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Fields, Log } from '../base/log.ts'
import { systemClock } from '../base/system-clock.ts'
import { pinoLog } from '../base/pino-log.ts'
import {
  createMeshKey,
  diagnoseLimits,
  describeConfig,
  joinByInvite,
  jsonSchema,
  type LoadedConfig,
  loadNodeConfig,
  meshKeyFingerprints,
  type NodePaths,
  nodeLogFile,
  type Predecessor,
  type RunOptions,
  runNode,
  type SpawnSuccessor,
  socketPath,
  systemPaths,
} from '../node/index.ts'
import type { LocalNode } from './local-node.ts'
import { openLogFile } from './log-file.ts'
import type { Lifeline } from './succession-channel.ts'

type Environment = Readonly<Record<string, string | undefined>>
type Sources = Pick<RunOptions, 'files' | 'cwd' | 'env' | 'readFile'>

/** The processes that a node of this process belongs to. */
export interface Family {
  readonly predecessor: Predecessor | undefined
  readonly lifeline: Lifeline | undefined
}

/** The library as the command line needs it. This file is loaded on first use: it brings the whole node with it. */
export function localNode(env: Environment, cwd: string, { predecessor, lifeline }: Family): LocalNode {
  const spawnSuccessor: SpawnSuccessor = async (handles, dataDir) => {
    const { spawnSuccessor: start } = await import('./detach-successor.ts')
    return start(handles, dataDir, lifeline?.fd)
  }
  const sources = (files: readonly string[], overrides: Environment = {}): Sources => ({
    files,
    cwd,
    env: { ...env, ...overrides },
    readFile: (path) => readFile(path, 'utf8'),
  })
  return {
    resolvePaths(dataDir) {
      const paths = systemPaths({ dataDir, cwd, env })
      return { ...paths, controlSocket: socketPath(paths, 'control.sock', process.platform) }
    },

    async run({ files, dataDir, name, onProgress, force, requests }, signal) {
      const overrides = { ...given('HSU_DATA_DIR', dataDir && resolve(cwd, dataDir)), ...given('HSU_NODE_NAME', name) }
      const makeLog = (loaded: LoadedConfig, paths: NodePaths): Log => {
        const toFile = pinoLog({ level: loaded.config.node.log_level, fd: openLogFile(nodeLogFile(paths)) })
        return alsoShown(toFile, onProgress)
      }
      const options = { makeLog, onProgress, force, requests, predecessor, spawnSuccessor }
      const how = await runNode({ ...sources(files, overrides), ...options }, signal)
      if (how !== 'ended') lifeline?.passed(how.pid)
      return 0
    },

    async describeConfig(files) {
      const loaded = await loadNodeConfig(sources(files))
      const { yaml, json } = describeConfig(loaded)
      const { data_dir } = loaded.config.node
      return { yaml, ...json, dataDir: data_dir === undefined ? undefined : resolve(loaded.baseDir, data_dir) }
    },

    configSchema: () => jsonSchema(),
    checkLimits: diagnoseLimits,
    createMeshKey,
    meshKeyFingerprints,
    joinByInvite: (code, address, signal) => joinByInvite(systemClock, code, address, signal),
  }
}

function given(name: string, value: string | undefined): Environment {
  return value === undefined ? {} : { [name]: value }
}

/**
 * A log whose warnings and errors the person at the terminal sees too; the file is where the rest is. What is about a
 * unit is left out: the events of units are shown already.
 */
export function alsoShown(log: Log, show: (line: string) => void, base: Fields = {}): Log {
  const tell = (level: string, message: string, fields: Fields = {}): void => {
    const all = { ...base, ...fields }
    if (!('unit' in all || 'instance' in all)) show(lineOf(level, message, all))
  }
  return {
    debug: (message, fields) => log.debug(message, fields),
    info: (message, fields) => log.info(message, fields),
    warn(message, fields) {
      log.warn(message, fields)
      tell('warning', message, fields)
    },
    error(message, fields) {
      log.error(message, fields)
      tell('error', message, fields)
    },
    with: (fields) => alsoShown(log.with(fields), show, { ...base, ...fields }),
  }
}

function lineOf(level: string, message: string, fields: Fields): string {
  const facts = Object.entries(fields).map(([name, value]) => `${name}=${shown(value)}`)
  return [`${level}: ${message}`, ...facts].join('  ')
}

function shown(value: unknown): string {
  if (value instanceof Error) return value.message
  return typeof value === 'string' ? value : JSON.stringify(value)
}
