import { readFile } from 'node:fs/promises'
import type { LimitBackend } from './backend.ts'
import { systemCgroupFs } from './cgroup-fs.ts'
import { parseLayout } from './cgroup-layout.ts'
import { type CgroupSeams, cgroupV1 } from './cgroup-v1.ts'
import { cgroupV2 } from './cgroup-v2.ts'
import { listDisks } from './disks.ts'
import { killHard } from './kill-pids.ts'
import { rlimits } from './rlimits.ts'

/** The mechanisms this host has, best first. */
export async function systemBackends(): Promise<readonly LimitBackend[]> {
  if (process.platform !== 'linux') return [rlimits]
  const [mountinfo, own] = await Promise.all(
    ['/proc/self/mountinfo', '/proc/self/cgroup'].map((path) => readFile(path, 'utf8').catch(() => '')),
  )
  const { v1, v2 } = parseLayout(mountinfo ?? '', own ?? '')
  const seams: CgroupSeams = { fs: systemCgroupFs, kill: killHard, disks: listDisks }
  const backends = [v2 && (await cgroupV2(seams, v2)), await cgroupV1(seams, v1), rlimits]
  return backends.filter((backend) => backend !== undefined)
}
