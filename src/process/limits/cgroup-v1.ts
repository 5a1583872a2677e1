import { join } from 'node:path'
import { systemCode } from '../../base/error.ts'
import type { Caps, Cell, CellReading, LimitBackend } from './backend.ts'
import { type CgroupFs, readCount, readKeyed, readPids } from './cgroup-fs.ts'
import type { Hierarchy } from './cgroup-layout.ts'
import { cpuQuotaUs, CPU_PERIOD_US, SHIM_PROCESSES } from './cgroup-units.ts'
import { makeGroup, nodeGroup, removeGroups, sweepGroup } from './groups.ts'
import { killPids } from './kill-pids.ts'
import type { Resource } from './resources.ts'

/** What a controller is good for, and a file whose presence proves that this kernel can do it. */
interface Use {
  readonly controller: string
  readonly proof: string
  readonly holds: readonly Resource[]
  /** What it holds to in part, which is not enough to rely on. */
  readonly helps: readonly Resource[]
}

/** The order is the one in which a controller is chosen to gather the processes; only the freezer stops all at once. */
// biome-ignore format: a table reads by column
const USES: readonly Use[] = [
  { controller: 'freezer', proof: 'freezer.state',                  holds: [],          helps: [] },
  { controller: 'pids',    proof: 'pids.max',                       holds: ['pids'],    helps: [] },
  { controller: 'memory',  proof: 'memory.limit_in_bytes',          holds: ['memory'],  helps: [] },
  { controller: 'cpu',     proof: 'cpu.cfs_quota_us',               holds: ['cpu'],     helps: [] },
  // Writes through the page cache are done later by the kernel itself, which this controller does not see.
  { controller: 'blkio',   proof: 'blkio.throttle.read_bps_device', holds: ['io.read'], helps: ['io.write'] },
]

const PLACE = /^v1:([a-z]+):(\/.*)$/

export interface CgroupSeams {
  readonly fs: CgroupFs
  readonly kill: (pid: number) => void
  /** Disks, as `major:minor`. */
  readonly disks: () => Promise<readonly string[]>
}

/** Control groups of version 1: one tree of groups for each controller. Undefined when none of them is ours to use. */
export async function cgroupV1(
  seams: CgroupSeams,
  hierarchies: ReadonlyMap<string, Hierarchy>,
): Promise<LimitBackend | undefined> {
  const usable = new Map<string, Hierarchy>()
  for (const use of USES) {
    const hierarchy = hierarchies.get(use.controller)
    if (hierarchy !== undefined && (await isUsable(seams, hierarchy, use))) usable.set(use.controller, hierarchy)
  }
  const [gatherer] = usable.keys()
  if (gatherer === undefined) return undefined
  const uses = USES.filter(({ controller }) => usable.has(controller))
  return {
    name: 'cgroup v1',
    enforces: new Map(
      uses.flatMap(({ controller, holds }) => holds.map((resource) => [resource, `cgroup v1 ${controller}`] as const)),
    ),
    gathers: true,
    slowsMemory: false,
    cell({ node, instance, resources, gather }) {
      const needed = uses.filter(
        ({ controller, holds, helps }) =>
          (gather && controller === gatherer) || [...holds, ...helps].some((resource) => resources.includes(resource)),
      )
      const groups = needed.map(({ controller }) => {
        const own = (usable.get(controller) as Hierarchy).own
        return [controller, join(nodeGroup(own, node), instance)] as const
      })
      return cellOf(seams, new Map(groups))
    },
    found(places) {
      const groups = places.flatMap((place) => {
        const [, controller, path] = PLACE.exec(place) ?? []
        return controller === undefined || path === undefined ? [] : [[controller, path] as const]
      })
      return groups.length === 0 ? undefined : cellOf(seams, new Map(groups))
    },
    async sweep(node, instances) {
      for (const { own } of usable.values()) await sweepGroup(seams.fs, nodeGroup(own, node), instances)
    },
  }
}

/** Tries it with a group of its own. */
async function isUsable({ fs }: CgroupSeams, { own }: Hierarchy, { proof }: Use): Promise<boolean> {
  const path = join(own, `hsu-try-${process.pid}`)
  try {
    await fs.mkdir(path)
    await fs.read(join(path, proof))
    return true
  } catch {
    return false
  } finally {
    await fs.rmdir(path).catch(() => false)
  }
}

/** `groups`: directory by controller; the first one gathers. */
function cellOf({ fs, kill, disks }: CgroupSeams, groups: ReadonlyMap<string, string>): Cell {
  const [[gatherer, gathered] = ['', '']] = groups
  const pids = (): Promise<readonly number[]> => readPids(fs, gathered)

  /** Moves in who is in the others already: the limit came when the instance ran. */
  async function make(path: string): Promise<void> {
    if (!(await makeGroup(fs, path)) || path === gathered) return
    for (const pid of await pids()) await fs.write(join(path, 'cgroup.procs'), String(pid)).catch(ignoreGone)
  }

  const freeze = async (frozen: boolean): Promise<void> => {
    if (gatherer === 'freezer') await fs.write(join(gathered, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED')
  }

  return {
    places: [...groups].map(([controller, path]) => `v1:${controller}:${path}`),
    gathers: true,
    async hold(caps) {
      for (const path of groups.values()) await make(path)
      for (const [controller, path] of groups) await holdBy(fs, controller, path, caps, disks)
    },
    async enter(pid) {
      for (const path of groups.values()) await fs.write(join(path, 'cgroup.procs'), String(pid))
    },
    prelude: () => '',
    pids,
    async kill() {
      await freeze(true)
      try {
        await killPids(pids, kill)
      } finally {
        await freeze(false)
      }
    },
    freeze,
    read: () => readGroups(fs, groups),
    remove: () => removeGroups(fs, [...groups.values()]),
  }
}

async function holdBy(
  fs: CgroupFs,
  controller: string,
  path: string,
  caps: Caps,
  disks: () => Promise<readonly string[]>,
): Promise<void> {
  switch (controller) {
    case 'memory':
      return holdMemory(fs, path, caps.memory === undefined ? '-1' : String(caps.memory))
    case 'cpu':
      await fs.write(join(path, 'cpu.cfs_period_us'), String(CPU_PERIOD_US))
      return fs.write(join(path, 'cpu.cfs_quota_us'), caps.cpu === undefined ? '-1' : String(cpuQuotaUs(caps.cpu)))
    case 'pids':
      return fs.write(join(path, 'pids.max'), caps.pids === undefined ? 'max' : String(caps.pids + SHIM_PROCESSES))
    case 'blkio':
      for (const disk of await disks()) {
        await fs.write(join(path, 'blkio.throttle.read_bps_device'), `${disk} ${caps['io.read'] ?? 0}`)
        await fs.write(join(path, 'blkio.throttle.write_bps_device'), `${disk} ${caps['io.write'] ?? 0}`)
      }
  }
}

/** Memory and swap together may never be limited below memory alone, so the direction decides which is written first. */
async function holdMemory(fs: CgroupFs, path: string, limit: string): Promise<void> {
  const [alone, withSwap] = [join(path, 'memory.limit_in_bytes'), join(path, 'memory.memsw.limit_in_bytes')]
  const isLower = await fs.write(alone, limit).then(
    () => true,
    () => false,
  )
  // Without swap accounting the kernel has no such file.
  await fs.write(withSwap, limit).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
  if (!isLower) await fs.write(alone, limit)
}

async function readGroups(fs: CgroupFs, groups: ReadonlyMap<string, string>): Promise<CellReading> {
  const [memory, pids] = [groups.get('memory'), groups.get('pids')]
  const reading: { memory?: number; pids?: number; oomKills?: number } = {}
  if (memory !== undefined) {
    const used = await readCount(fs, join(memory, 'memory.usage_in_bytes'))
    const unused = (await readKeyed(fs, join(memory, 'memory.stat'), 'total_inactive_file')) ?? 0
    const oomKills = await readKeyed(fs, join(memory, 'memory.oom_control'), 'oom_kill')
    if (used !== undefined) reading.memory = Math.max(0, used - unused)
    if (oomKills !== undefined) reading.oomKills = oomKills
  }
  if (pids !== undefined) {
    const count = await readCount(fs, join(pids, 'pids.current'))
    if (count !== undefined) reading.pids = Math.max(0, count - SHIM_PROCESSES)
  }
  return reading
}

/** A process that ended in the meantime needs no limit. */
function ignoreGone(error: unknown): void {
  if (systemCode(error) !== 'ESRCH') throw error
}
