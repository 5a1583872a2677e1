import { posix } from 'node:path'

/** Where a hierarchy of control groups is mounted, and which of its groups is ours. */
export interface Hierarchy {
  /** Mount point. */
  readonly mount: string
  /** Directory of the group this process is in; the mount point when that lies outside of it. */
  readonly own: string
}

export interface CgroupLayout {
  readonly v2: Hierarchy | undefined
  /** By controller: memory, cpu, pids, blkio, freezer. */
  readonly v1: ReadonlyMap<string, Hierarchy>
}

/**
 * Reads /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)). Of several mounts of one
 * hierarchy the first counts.
 */
export function parseLayout(mountinfo: string, selfCgroup: string): CgroupLayout {
  const owns = parseOwn(selfCgroup)
  const v1 = new Map<string, Hierarchy>()
  let v2: Hierarchy | undefined
  for (const line of mountinfo.split('\n')) {
    const mount = parseMount(line)
    if (mount?.type === 'cgroup2') v2 ??= hierarchyOf(mount, owns.get(''))
    if (mount?.type !== 'cgroup') continue
    for (const option of mount.options) {
      if (owns.has(option) && !v1.has(option)) v1.set(option, hierarchyOf(mount, owns.get(option)))
    }
  }
  return { v2, v1 }
}

interface Mount {
  readonly type: string
  /** Which directory of the hierarchy is mounted. */
  readonly root: string
  readonly point: string
  readonly options: readonly string[]
}

function parseMount(line: string): Mount | undefined {
  const [before = '', after = ''] = line.split(' - ')
  const [, , , root, point] = before.split(' ')
  const [type, , options = ''] = after.split(' ')
  if (type === undefined || root === undefined || point === undefined) return undefined
  return { type, root: unescape(root), point: unescape(point), options: options.split(',') }
}

/** Spaces and the like are written as octal numbers. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** Path of our group by controller; '' stands for v2. */
function parseOwn(text: string): ReadonlyMap<string, string> {
  const owns = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line)
    for (const controller of match?.[1]?.split(',') ?? []) owns.set(controller, match?.[2] ?? '/')
  }
  return owns
}

function hierarchyOf({ root, point }: Mount, own = '/'): Hierarchy {
  const relative = posix.relative(root, own)
  const isInside = relative !== '..' && !relative.startsWith('../')
  return { mount: point, own: isInside ? posix.join(point, relative) : point }
}
