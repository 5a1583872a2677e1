import type { Clock } from '../base/clock.ts'
import type { FindConfig } from './config.ts'
import { type FindMethod, type FindSeams, findProcess, methodOf, notFound } from './find.ts'
import type { ProcessIdentity } from './identity.ts'
import { identityOf, indexTree, type Listener, type ProcessInfo, treeOf } from './process-table.ts'
import { measure, type Reading, type Sample, type Usage } from './usage.ts'

/** A process as a person needs to see it to tell it from others. */
export interface SightedProcess {
  readonly identity: ProcessIdentity
  readonly argv: readonly string[]
  readonly startedAtMs: number | undefined
  /** Undefined when we may not know. */
  readonly uid: number | undefined
  /** Of the process alone. */
  readonly rssBytes: number
  /** Of the process and all below it. */
  readonly tree: Usage
  /** What the tree listens on. */
  readonly listeners: readonly ListeningPort[]
}

export type ListeningPort = Pick<Listener, 'protocol' | 'address' | 'port'>

/** What a look found: the one process that would be attached, or the several that keep it from being attached. */
export interface Look {
  readonly method: FindMethod
  readonly processes: readonly SightedProcess[]
}

/** More than these are not looked at closely. */
const MAX_CANDIDATES = 50
/** Between two readings, from which the load follows. */
const LOOK_MS = 250

/**
 * Looks once for what `find` describes.
 *
 * @throws HsuError `PROCESS_NOT_FOUND` naming the method, `UNSUPPORTED` where the system does not tell
 */
export async function lookFor(
  find: FindConfig,
  seams: FindSeams & { readonly clock: Clock },
  signal: AbortSignal,
): Promise<Look> {
  const sighting = await findProcess(find, seams)
  if (sighting.kind === 'absent') throw notFound(find, sighting)
  const pids = sighting.kind === 'found' ? [sighting.identity.pid] : sighting.candidates.map(({ pid }) => pid)
  const processes = await describeProcesses(pids.slice(0, MAX_CANDIDATES), seams, signal)
  return { method: methodOf(find), processes }
}

/** The one process of a look. @throws HsuError `PROCESS_AMBIGUOUS` listing them, `PROCESS_NOT_FOUND` when it ended meanwhile */
export function theOnly(find: FindConfig, { processes }: Look): SightedProcess {
  const [only, ...others] = processes
  if (only === undefined) throw notFound(find, { kind: 'absent', reason: 'it ended while it was looked at' })
  if (others.length === 0) return only
  const candidates = processes.map(({ identity, argv, startedAtMs }) => ({ pid: identity.pid, argv, startedAtMs }))
  throw notFound(find, { kind: 'ambiguous', candidates })
}

/** @throws what `clock.sleep` throws when aborted */
async function describeProcesses(
  pids: readonly number[],
  { table, clock }: Pick<FindSeams, 'table'> & { readonly clock: Clock },
  signal: AbortSignal,
): Promise<readonly SightedProcess[]> {
  const bootId = await table.bootId()
  const read = async (): Promise<ReadonlyMap<number, { atMs: number; tree: readonly ProcessInfo[] }>> => {
    const index = indexTree(await table.list())
    const atMs = clock.nowMs()
    return new Map(pids.map((pid) => [pid, { atMs, tree: treeOf(pid, index) }]))
  }
  const before = await read()
  await clock.sleep(LOOK_MS, signal)
  const now = await read()
  const open = await listenersOf(table)
  return pids.flatMap((pid): SightedProcess[] => {
    const reading = now.get(pid)
    const root = reading?.tree.find((info) => info.pid === pid)
    if (reading === undefined || root === undefined) return []
    const { argv, startedAtMs, rssBytes } = root
    const members = new Set(reading.tree.map((info) => info.pid))
    return [
      {
        identity: identityOf(root, bootId),
        argv,
        startedAtMs,
        uid: table.dossier?.(pid).uid,
        rssBytes,
        tree: measure(first(before.get(pid)), reading),
        listeners: portsOf(members, open),
      },
    ]
  })
}

function first(sample: Sample | undefined): Reading | undefined {
  return sample === undefined ? undefined : { ...sample, usage: measure(undefined, sample) }
}

/** A system that does not tell who listens still tells who runs. */
async function listenersOf(table: FindSeams['table']): Promise<readonly Listener[]> {
  return table.listeners().catch(() => [])
}

/** The ports that these processes listen on, in order and each once. */
export function portsOf(pids: ReadonlySet<number>, open: readonly Listener[]): readonly ListeningPort[] {
  const own = open.filter((listener) => listener.pids.some((pid) => pids.has(pid)))
  const byName = new Map(
    own.map(({ protocol, address, port }) => [`${protocol} ${address} ${port}`, { protocol, address, port }]),
  )
  return [...byName.values()].sort((a, b) => a.port - b.port || a.address.localeCompare(b.address))
}
