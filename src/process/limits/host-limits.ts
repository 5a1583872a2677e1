import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { listInstances } from '../instance-files.ts'
import type { Caps, Cell, KernelLimits, LimitBackend } from './backend.ts'
import { joinCells } from './join-cells.ts'
import type { Resource } from './resources.ts'

/** The ways of this host to hold instances to limits. */
export interface HostLimits {
  readonly kernel: () => Promise<KernelLimits>
  /** The cell for a new instance, made and written down in its directory; undefined when this host has none to offer. */
  open(directory: string, caps: Caps, resources: readonly Resource[]): Promise<Cell | undefined>
  /** The cell of an instance that was started before, by this node or an earlier one. */
  readonly find: (directory: string) => Promise<Cell | undefined>
  /** Gives the cell of an ended instance back. */
  close(directory: string): Promise<void>
}

/** The file in which an instance keeps the places of its cell. */
const PLACES = 'cell'

/** A killed process may be in its group a moment longer than it is in the process table; what stays is left to a sweep. */
const MAX_REMOVALS = 8
const REMOVAL_MS = 10

/** Chooses among the mechanisms, for each resource the first that can. They are looked for at the first question. */
export function hostLimits(clock: Pick<Clock, 'sleep'>, load: () => Promise<readonly LimitBackend[]>): HostLimits {
  let loading: Promise<readonly LimitBackend[]> | undefined
  const backends = (): Promise<readonly LimitBackend[]> => (loading ??= load())
  const inTurn = oneAtATime()
  const swept = new Set<string>()

  /** Once, before the first cell: what an earlier node could not remove. */
  async function sweep(runDir: string): Promise<void> {
    if (swept.has(runDir)) return
    swept.add(runDir)
    const instances = new Set((await listInstances(runDir)).map(({ directory }) => nameOf(directory)))
    for (const backend of await backends()) await backend.sweep(nodeOf(runDir), instances)
  }

  async function find(directory: string): Promise<Cell | undefined> {
    const text = await readFile(join(directory, PLACES), 'utf8').catch(() => '')
    const places = text.split('\n').filter((place) => place !== '')
    if (places.length === 0) return undefined
    return joined((await backends()).flatMap((backend) => backend.found(places) ?? []))
  }

  return {
    kernel: async () => {
      const found = await backends()
      // The first one wins: it is written last.
      const enforces = new Map([...found].reverse().flatMap((backend) => [...backend.enforces]))
      return { enforces, slowsMemory: found.some(({ slowsMemory }) => slowsMemory) }
    },
    open: (directory, caps, resources) =>
      inTurn(async () => {
        const runDir = dirname(dirname(dirname(directory)))
        await sweep(runDir)
        const cell = joined(cellsOf(await backends(), nodeOf(runDir), nameOf(directory), resources))
        if (cell === undefined) return undefined
        await writeFile(join(directory, PLACES), cell.places.map((place) => `${place}\n`).join(''), { mode: 0o600 })
        await cell.hold(caps)
        return cell
      }),
    find,
    async close(directory) {
      const cell = await find(directory)
      for (let attempt = 1; cell !== undefined && attempt <= MAX_REMOVALS; attempt += 1) {
        if (await inTurn(() => cell.remove())) return
        await clock.sleep(REMOVAL_MS * attempt)
      }
    },
  }
}

/** What nobody can hold an instance to goes to all: some help a little. */
function cellsOf(
  backends: readonly LimitBackend[],
  node: string,
  instance: string,
  resources: readonly Resource[],
): readonly Cell[] {
  const gatherer = backends.find(({ gathers }) => gathers)
  const ownerOf = (resource: Resource) => backends.find(({ enforces }) => enforces.has(resource))
  return backends.flatMap((backend) => {
    const own = resources.filter((resource) => (ownerOf(resource) ?? backend) === backend)
    const gather = backend === gatherer
    return gather || own.length > 0 ? [backend.cell({ node, instance, resources: own, gather })] : []
  })
}

function joined([first, ...rest]: readonly Cell[]): Cell | undefined {
  return first === undefined ? undefined : joinCells([first, ...rest])
}

/** Names the node that keeps its instances in `runDir`; the same for the next node with that directory. */
function nodeOf(runDir: string): string {
  return createHash('sha256').update(runDir).digest('hex').slice(0, 12)
}

function nameOf(directory: string): string {
  return basename(directory).replaceAll(/[^\w.-]/g, '_')
}

/** The group of a node is removed with its last instance, which must not meet the making of the next. */
function oneAtATime(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const done = last.then(task)
    last = done.catch(() => undefined)
    return done
  }
}
