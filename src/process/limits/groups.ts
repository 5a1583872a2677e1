import { dirname, join } from 'node:path'
import type { CgroupFs } from './cgroup-fs.ts'

/** All groups of one node are in one group of this name, next to each other. */
export function nodeGroup(above: string, node: string): string {
  return join(above, `hsu-${node}`)
}

/** Makes a group in the group of its node, and that one when need be. True when the group is new. */
export async function makeGroup(
  fs: CgroupFs,
  path: string,
  prepareNode: (path: string) => Promise<void> = async () => undefined,
): Promise<boolean> {
  const above = dirname(path)
  if (await fs.mkdir(above)) await prepareNode(above)
  return fs.mkdir(path)
}

/** Removes groups, and those of their nodes when they were the last. False when a process is still in one. */
export async function removeGroups(fs: CgroupFs, paths: readonly string[]): Promise<boolean> {
  let isGone = true
  for (const path of paths) {
    if (await fs.rmdir(path)) await fs.rmdir(dirname(path))
    else isGone = false
  }
  return isGone
}

/** Removes what is empty in the group of a node and is none of `instances`. */
export async function sweepGroup(fs: CgroupFs, node: string, instances: ReadonlySet<string>): Promise<void> {
  for (const name of await fs.groups(node)) {
    if (!instances.has(name)) await fs.rmdir(join(node, name))
  }
}
