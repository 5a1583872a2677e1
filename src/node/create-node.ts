import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { stringify } from 'yaml'
import { HsuError } from '../base/error.ts'
import { type Log, silentLog } from '../base/log.ts'
import type { InstanceStatus } from '../process/index.ts'
import type { NodeEvent } from './event.ts'
import type { RunningNode } from './node.ts'
import { openNode } from './run-node.ts'

export interface NodeOptions {
  /** The configuration, as the file would hold it (docs/config.md); instead of `files`. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Configuration files, the later win; instead of `config`. Default: hsu.yaml in the working directory. */
  readonly files?: readonly string[]
  /** Directory of all that the node keeps. Default: that of the configuration, else the user's state directory. */
  readonly dataDir?: string
  /** Where the node writes what happens to it; default: nowhere. */
  readonly log?: Log
}

/** A node inside this process. */
export interface HsuNode {
  /** `host:port` where gRPC clients reach every service of the mesh. @throws HsuError NOT_STARTED */
  readonly ingress: string
  /** Path of the control API's unix socket. @throws HsuError NOT_STARTED */
  readonly controlSocket: string
  /**
   * Starts the node and its units; resolves when its doors are open, without waiting for units to be ready or for
   * other nodes to be found.
   *
   * @throws HsuError CONFIG_INVALID, NODE_EXISTS
   */
  start(): Promise<void>
  /** Stops the units in reverse dependency order, leaves the mesh, closes all doors. Idempotent. */
  stop(): Promise<void>
  /** The instances this node runs and watches. @throws HsuError NOT_STARTED */
  units(): readonly InstanceStatus[]
  /** @throws HsuError UNIT_NOT_FOUND, UNIT_NOT_MANAGED */
  startUnit(unit: string): Promise<void>
  /** Resolves when its processes are gone. @throws HsuError UNIT_NOT_FOUND, UNIT_NOT_MANAGED */
  stopUnit(unit: string): Promise<void>
  /** @throws HsuError UNIT_NOT_FOUND, UNIT_NOT_MANAGED */
  restartUnit(unit: string): Promise<void>
  /** What happens from now on, until `signal` aborts. */
  events(signal: AbortSignal): AsyncIterable<NodeEvent>
}

/** The name under which a configuration given in code appears in messages and origins. */
const IN_CODE = 'createNode.yaml'

/** Who asks when the program asks. */
const EMBEDDER = { actor: 'the program that embeds the node' }

/** A node to be embedded in a program of yours. Reads and checks its configuration at `start`. */
export function createNode(options: NodeOptions = {}): HsuNode {
  if (options.config !== undefined && options.files !== undefined) {
    throw new HsuError('USAGE', 'createNode takes config or files, not both')
  }
  let running: RunningNode | undefined
  const never = new AbortController().signal
  let last: Promise<unknown> = Promise.resolve()

  /** One start or stop after the other, in the order they were asked for. */
  const inTurn = (task: () => Promise<void>): Promise<void> => {
    const turn = last.then(task, task)
    last = turn.catch(() => undefined)
    return turn
  }

  const node = (): RunningNode => {
    if (running === undefined) throw new HsuError('NOT_STARTED', 'the node is not running; await start() first')
    return running
  }
  return {
    get ingress() {
      return node().core.ingress.address()
    },
    get controlSocket() {
      return node().core.info.controlSocket
    },
    start: () =>
      inTurn(async () => {
        running ??= await open(options)
      }),
    stop: () =>
      inTurn(async () => {
        const stopping = running
        running = undefined
        await stopping?.stop()
      }),
    units: () => node().core.supervisor.status(),
    startUnit: (unit) => node().core.supervisor.startUnit(unit, never, EMBEDDER),
    stopUnit: async (unit) => {
      await node().core.supervisor.stopUnit(unit, never, EMBEDDER)
    },
    restartUnit: (unit) => node().core.supervisor.restartUnit(unit, never, EMBEDDER),
    events: (signal) => node().core.events.query({ units: [], follow: true, tail: 0, sinceMs: undefined }, signal),
  }
}

function open({ config, files, dataDir, log = silentLog }: NodeOptions): Promise<RunningNode> {
  const text = config === undefined ? undefined : stringify(config)
  return openNode(
    {
      files: text === undefined ? (files ?? []) : [IN_CODE],
      cwd: process.cwd(),
      env: dataDir === undefined ? process.env : { ...process.env, HSU_DATA_DIR: dataDir },
      readFile: async (path) => (text !== undefined && basename(path) === IN_CODE ? text : readFile(path, 'utf8')),
    },
    () => log,
  )
}
