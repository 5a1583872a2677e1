import { readFile } from 'node:fs/promises'
import { homedir, hostname, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { aborted } from '../base/abort.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { Topic } from '../base/topic.ts'
import { type LoadedConfig, loadConfig, type ReadFile } from './config/index.ts'
import { DEFAULT_DRAIN_MS } from './control-life.ts'
import { ALL_EVENTS } from './event.ts'
import { type RunningNode, startNode } from './node.ts'
import { type NodeSetup, prepareSetup } from './node-setup.ts'
import { systemOutside } from './outside.ts'
import type { Predecessor, SpawnSuccessor, Swapped } from './succession.ts'
import { type NodePaths, nodePaths, type PathInputs, prepareDirectories } from './paths.ts'
import { VERSION } from '../base/version.ts'

export interface NodeSources {
  /** Configuration files in order, the later win; empty = hsu.yaml or hsu.yml in `cwd`. */
  readonly files: readonly string[]
  readonly cwd: string
  /** Names variables of the configuration, and `HSU_*`. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: ReadFile
}

/** Reads the configuration of this host. @throws HsuError CONFIG_INVALID naming every fault */
export function loadNodeConfig({ files, cwd, env, readFile }: NodeSources): Promise<LoadedConfig> {
  return loadConfig({ files, cwd, env: definedOf(env) }, { readFile, hostname: hostname(), version: VERSION })
}

/** The processes before and after this one, for a node that is replaced as it runs. */
export interface Succession {
  readonly predecessor?: Predecessor | undefined
  readonly spawnSuccessor?: SpawnSuccessor | undefined
}

/** Starts a node of this host from its configuration. `log` is made once the place of its file is known. */
export async function openNode(
  sources: NodeSources,
  makeLog: (loaded: LoadedConfig, paths: NodePaths) => Log,
  succession: Succession = {},
): Promise<RunningNode> {
  const loaded = await loadNodeConfig(sources)
  const paths = pathsOf(loaded, sources)
  await prepareDirectories(paths, process.getuid?.())
  const log = makeLog(loaded, paths)
  const { predecessor, spawnSuccessor } = succession
  if (predecessor !== undefined && predecessor.dataDir !== paths.dataDir)
    throw movedData(predecessor.dataDir, paths.dataDir)
  const setup = await setupFrom(loaded, paths, log)
  return startNode(systemOutside(log), setup, {
    predecessor,
    spawnSuccessor,
    async reread() {
      const again = await loadNodeConfig(sources)
      return setupFrom(again, pathsOf(again, sources), log)
    },
  })
}

function movedData(from: string, to: string): HsuError {
  const message = `the data directory was ${from} and is ${to} now: a node is not moved as it runs; use hsu down and hsu up`
  return new HsuError('CONFIG_INVALID', message, { details: { from, to } })
}

function setupFrom(loaded: LoadedConfig, paths: NodePaths, log: Log): Promise<NodeSetup> {
  for (const warning of loaded.warnings) log.warn('configuration', { warning })
  const read = (path: string): Promise<string> =>
    readFile(isAbsolute(path) ? path : resolve(loaded.baseDir, path), 'utf8')
  return prepareSetup({ loaded, paths, version: VERSION, readFile: read })
}

/** A directory named in a file is relative to that file, one from the environment to where the node was started. */
function pathsOf({ config, origins, baseDir }: LoadedConfig, { cwd, env }: NodeSources): NodePaths {
  const fromEnvironment = origins.get('node.data_dir')?.startsWith('env ') === true
  return systemPaths({ dataDir: config.node.data_dir, cwd: fromEnvironment ? cwd : baseDir, env })
}

/** Where a node of this user on this system keeps its files. */
export function systemPaths(given: Pick<PathInputs, 'dataDir' | 'cwd' | 'env'>): NodePaths {
  const { platform } = process
  return nodePaths({ ...given, platform, uid: process.getuid?.(), home: homedir(), tmpDir: tmpdir() })
}

export interface RunOptions extends NodeSources, Succession {
  readonly makeLog: (loaded: LoadedConfig, paths: NodePaths) => Log
  /** A line for the person at the terminal about what the node does. */
  readonly onProgress: (line: string) => void
  /** Aborted when the person will wait no longer for an orderly end: units are then killed. */
  readonly force: AbortSignal
  /** What else is asked of the node by signals. */
  readonly requests: Topic<NodeRequest>
}

/** What a signal can ask of a running node: a new configuration, a new process, or to end and leave its units running. */
export type NodeRequest = 'reload' | 'upgrade' | 'leave'

/**
 * Runs a node until `signal` aborts or it is asked to end, and all it started has ended; or until another process has
 * taken its place, and calls under way here have ended.
 */
export async function runNode(options: RunOptions, signal: AbortSignal): Promise<'ended' | Swapped> {
  const node = await openNode(options, options.makeLog, options).catch((error: unknown) => {
    const { reason, message } = HsuError.from(error)
    options.predecessor?.tell({ kind: 'failed', reason, message })
    throw error
  })
  const { core } = node
  const kill = (): void => {
    if (core.upgrade.isReplaced) return
    for (const { unit } of core.supervisor.status()) void core.supervisor.killUnit(unit).catch(() => undefined)
  }
  options.force.addEventListener('abort', kill, { once: true })
  if (options.force.aborted) kill() // asked for while the node was still starting
  const doors = [`ingress ${core.ingress.address()}`, `control ${core.info.controlSocket}`]
  if (core.admin !== undefined) doors.push(`admin ${core.admin.address()}`)
  options.onProgress(`node ${core.info.name} runs, ${doors.join(', ')}`)
  const watching = new AbortController()
  const watched = showProgress(core, options.onProgress, watching.signal)
  const ending = await whatEnds(node, options.requests, signal)
  try {
    return await end(node, ending, options, signal)
  } finally {
    watching.abort()
    await watched
    options.force.removeEventListener('abort', kill)
  }
}

/** What becomes of the units, or that another process has them and calls under way here may go on for so long. */
type Ending = 'stop' | 'keep' | { readonly drainMs: number }

/** What a process that was replaced passes on to the one in its place. */
const SIGNAL_OF: Readonly<Record<NodeRequest, NodeJS.Signals>> = {
  reload: 'SIGHUP',
  upgrade: 'SIGUSR2',
  leave: 'SIGQUIT',
}

/** What is asked of this process while, and after, another one takes over is for that one. */
async function end(
  node: RunningNode,
  ending: Ending,
  { onProgress, requests }: Pick<RunOptions, 'onProgress' | 'requests'>,
  signal: AbortSignal,
): Promise<'ended' | Swapped> {
  const swapped = await node.core.upgrade.settled()
  if (swapped === undefined) {
    await (ending === 'keep' ? node.abandon() : node.stop())
    onProgress(ending === 'keep' ? 'stopped, units run on' : 'stopped')
    return 'ended'
  }
  onProgress(`the node goes on as process ${swapped.pid}, version ${swapped.version}`)
  const passOn = (name: NodeJS.Signals): void => {
    try {
      process.kill(swapped.pid, name)
    } catch {
      // It has ended by itself.
    }
  }
  const unsubscribe = requests.subscribe((request) => passOn(SIGNAL_OF[request]))
  const stop = (): void => passOn('SIGTERM')
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  await node.retire(typeof ending === 'object' ? ending.drainMs : 0)
  unsubscribe()
  return swapped
}

/** Resolves when the node is to end in this process, and how. Reloads and upgrades meanwhile. */
async function whatEnds(
  { core, shutdownRequested, replaced }: RunningNode,
  requests: Topic<NodeRequest>,
  signal: AbortSignal,
): Promise<Ending> {
  const leaving = new AbortController()
  const unsubscribe = requests.subscribe((request) => {
    // What fails is an event and a line of the log; nobody waits for the answer.
    if (request === 'reload') void core.reload(false, 'SIGHUP').catch(() => undefined)
    else if (request === 'upgrade') {
      void core.upgrade.run({ drainMs: DEFAULT_DRAIN_MS, actor: 'SIGUSR2' }).catch(() => undefined)
    } else leaving.abort()
  })
  const stop = aborted(signal).then((): 'stop' => 'stop')
  const keep = aborted(leaving.signal).then((): 'keep' => 'keep')
  const elsewhere = replaced.then((drainMs) => ({ drainMs }))
  return Promise.race([stop, keep, shutdownRequested, elsewhere]).finally(unsubscribe)
}

async function showProgress(
  { events, info }: RunningNode['core'],
  show: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const query = { ...ALL_EVENTS, follow: true, sinceMs: info.startedAtMs }
  for await (const event of events.query(query, signal)) {
    const { type, unit, instance, reason, details } = event
    if (type === 'node.starting' || type === 'node.started') continue
    const subject = unit === '' ? (details['name'] ?? '') : instance === '' ? unit : instance
    show([type, subject, reason].filter((part) => part !== '').join('  '))
  }
}

function definedOf(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** Where the node's own log goes when it has no terminal. */
export function nodeLogFile(paths: NodePaths): string {
  return join(paths.logDir, 'node.log')
}
