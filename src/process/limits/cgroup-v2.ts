import { basename, dirname, join } from 'node:path'
import { systemCode } from '../../base/error.ts'
import type { Caps, Cell, CellReading, LimitBackend } from './backend.ts'
import { type CgroupFs, readCount, readIfThere, readKeyed, readPids } from './cgroup-fs.ts'
import type { Hierarchy } from './cgroup-layout.ts'
import { CPU_PERIOD_US, cpuQuotaUs, SHIM_PROCESSES } from './cgroup-units.ts'
import type { CgroupSeams } from './cgroup-v1.ts'
import { makeGroup, nodeGroup, removeGroups, sweepGroup } from './groups.ts'
import { killPids } from './kill-pids.ts'
import type { Resource } from './resources.ts'

const CONTROLLERS: ReadonlyMap<string, readonly Resource[]> = new Map([
  ['memory', ['memory']],
  ['cpu', ['cpu']],
  ['pids', ['pids']],
  ['io', ['io.read', 'io.write']],
])

/** The group that the node makes for itself where it must not stay in the one it was started in. */
const NODE_LEAF = 'hsu-node'

const PLACE = /^v2:([a-z,]*):(\/.*)$/

/**
 * Control groups of version 2: one tree, whose groups hold processes or groups with controllers, not both. Undefined
 * when we may make no group there.
 */
export async function cgroupV2(seams: CgroupSeams, hierarchy: Hierarchy): Promise<LimitBackend | undefined> {
  const { fs } = seams
  const above = await chooseAbove(seams, hierarchy)
  if (above === undefined) return undefined
  const controllers: string[] = []
  for (const name of await offered(fs, above)) {
    if (CONTROLLERS.has(name) && (await enable(seams, above, name))) controllers.push(name)
  }
  const prepareNode = async (path: string): Promise<void> => {
    for (const name of controllers) await fs.write(join(path, 'cgroup.subtree_control'), `+${name}`)
  }
  const resources = controllers.flatMap((name) => CONTROLLERS.get(name) ?? [])
  return {
    name: 'cgroup v2',
    enforces: new Map(resources.map((resource) => [resource, `cgroup v2 ${resource.replace(/\..*/, '')}`])),
    gathers: true,
    slowsMemory: controllers.includes('memory'),
    cell({ node, instance }) {
      return cellOf(seams, join(nodeGroup(above, node), instance), controllers, prepareNode)
    },
    found(places) {
      const [, names, path] = places.map((place) => PLACE.exec(place)).find((match) => match !== null) ?? []
      if (names === undefined || path === undefined) return undefined
      return cellOf(seams, path, names === '' ? [] : names.split(','), prepareNode)
    },
    sweep: (node, instances) => sweepGroup(fs, nodeGroup(above, node), instances),
  }
}

/**
 * The group below which those of our instances are to be. Ours, when nobody else is in it: then the node steps aside into a
 * leaf, since a group with processes of its own cannot hand controllers on. Else that of the whole system, when we may.
 */
async function chooseAbove(seams: CgroupSeams, { mount, own }: Hierarchy): Promise<string | undefined> {
  const { fs } = seams
  if (basename(own) === NODE_LEAF) return (await isOurs(seams, dirname(own))) ? dirname(own) : undefined
  // The one group that may have both has no type.
  if ((await readIfThere(fs, join(own, 'cgroup.type'))) === undefined)
    return (await isOurs(seams, own)) ? own : undefined
  const others = (await readPids(fs, own)).filter((pid) => pid !== process.pid)
  if (others.length === 0 && (await stepAside(seams, own))) return own
  const isWhole = (await readIfThere(fs, join(mount, 'cgroup.type'))) === undefined
  if (isWhole && (await isOurs(seams, mount))) return mount
  return (await isOurs(seams, own)) ? own : undefined
}

/** Whether we may make groups here and move processes into them, found out by trying the first. */
async function isOurs({ fs }: CgroupSeams, group: string): Promise<boolean> {
  const path = join(group, `hsu-try-${process.pid}`)
  try {
    await fs.mkdir(path)
    // Nothing is written, but opened for writing. Who moves a process needs that in the group above, too.
    await fs.write(join(path, 'cgroup.procs'), '')
    await fs.write(join(group, 'cgroup.procs'), '')
    return true
  } catch {
    return false
  } finally {
    await fs.rmdir(path).catch(() => false)
  }
}

async function stepAside({ fs }: CgroupSeams, group: string): Promise<boolean> {
  const leaf = join(group, NODE_LEAF)
  try {
    await fs.mkdir(leaf)
    await fs.write(join(leaf, 'cgroup.procs'), String(process.pid))
    return true
  } catch {
    return false
  }
}

async function offered(fs: CgroupFs, group: string): Promise<readonly string[]> {
  return ((await readIfThere(fs, join(group, 'cgroup.controllers'))) ?? '').trim().split(/\s+/)
}

async function enable({ fs }: CgroupSeams, group: string, controller: string): Promise<boolean> {
  try {
    await fs.write(join(group, 'cgroup.subtree_control'), `+${controller}`)
    return true
  } catch {
    return false
  }
}

function cellOf(
  { fs, kill, disks }: CgroupSeams,
  path: string,
  controllers: readonly string[],
  prepareNode: (path: string) => Promise<void>,
): Cell {
  const file = (name: string): string => join(path, name)
  const pids = (): Promise<readonly number[]> => readPids(fs, path)
  const freeze = (frozen: boolean): Promise<void> => fs.write(file('cgroup.freeze'), frozen ? '1' : '0')
  return {
    places: [`v2:${controllers.join(',')}:${path}`],
    gathers: true,
    async hold(caps) {
      await makeGroup(fs, path, prepareNode)
      for (const controller of controllers) await holdBy(fs, controller, path, caps, disks)
    },
    enter: (pid) => fs.write(file('cgroup.procs'), String(pid)),
    prelude: () => '',
    pids,
    async kill() {
      const isKilled = await fs.write(file('cgroup.kill'), '1').then(
        () => true,
        () => false,
      )
      // Kernels before 5.14 have no such file. Frozen processes of version 2 can be killed.
      if (isKilled) return
      await freeze(true).catch(() => undefined)
      await killPids(pids, kill)
      await freeze(false).catch(() => undefined)
    },
    freeze,
    read: () => readGroup(fs, path, controllers),
    remove: () => removeGroups(fs, [path]),
  }
}

async function holdBy(
  fs: CgroupFs,
  controller: string,
  path: string,
  caps: Caps,
  disks: () => Promise<readonly string[]>,
): Promise<void> {
  const write = (name: string, text: string): Promise<void> => fs.write(join(path, name), text)
  switch (controller) {
    case 'memory':
      await write('memory.high', textOf(caps.memorySoft))
      await write('memory.max', textOf(caps.memory))
      // Where there is no swap, there is no such file.
      return write('memory.swap.max', caps.memory === undefined ? 'max' : '0').catch((error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error
      })
    case 'cpu':
      return write('cpu.max', `${caps.cpu === undefined ? 'max' : cpuQuotaUs(caps.cpu)} ${CPU_PERIOD_US}`)
    case 'pids':
      return write('pids.max', caps.pids === undefined ? 'max' : String(caps.pids + SHIM_PROCESSES))
    case 'io':
      for (const disk of await disks()) {
        await write('io.max', `${disk} rbps=${textOf(caps['io.read'])} wbps=${textOf(caps['io.write'])}`)
      }
  }
}

function textOf(amount: number | undefined): string {
  return amount === undefined ? 'max' : String(amount)
}

async function readGroup(fs: CgroupFs, path: string, controllers: readonly string[]): Promise<CellReading> {
  const reading: { memory?: number; pids?: number; oomKills?: number } = {}
  if (controllers.includes('memory')) {
    const used = await readCount(fs, join(path, 'memory.current'))
    const unused = (await readKeyed(fs, join(path, 'memory.stat'), 'inactive_file')) ?? 0
    const oomKills = await readKeyed(fs, join(path, 'memory.events'), 'oom_kill')
    if (used !== undefined) reading.memory = Math.max(0, used - unused)
    if (oomKills !== undefined) reading.oomKills = oomKills
  }
  if (controllers.includes('pids')) {
    const count = await readCount(fs, join(path, 'pids.current'))
    if (count !== undefined) reading.pids = Math.max(0, count - SHIM_PROCESSES)
  }
  return reading
}
