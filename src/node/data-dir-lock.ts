import { join } from 'node:path'
import { HsuError } from '../base/error.ts'
import { acquireFileLock, type FileLock, type LockHolder } from '../base/file-lock.ts'
import type { Service } from '../base/lifecycle.ts'
import { identify, type ProcessTable } from '../process/index.ts'

export interface DataDirLockConfig {
  readonly dataDir: string
  readonly nodeName: string
  readonly pid: number
}

export interface DataDirLock extends Service {
  /** From now on the process `pid` holds it. @throws HsuError NOT_STARTED when it is not ours, or there is no such process */
  passTo(pid: number): Promise<void>
}

/**
 * Holds the data directory for this node as long as it runs. The holder is named by pid, start time and boot id, so the
 * lock of a killed node, or of one from before a reboot, is taken over.
 *
 * `start` @throws HsuError NODE_EXISTS naming the node that runs with this directory.
 */
export function dataDirLock(table: ProcessTable, { dataDir, nodeName, pid }: DataDirLockConfig): DataDirLock {
  let held: FileLock | undefined
  return {
    name: 'data directory lock',
    async start() {
      if (held !== undefined) return
      const self: LockHolder = { pid, token: (await tokenOf(table, pid)) ?? '', name: nodeName }
      const alive = async (holder: LockHolder): Promise<boolean> => (await tokenOf(table, holder.pid)) === holder.token
      const result = await acquireFileLock(join(dataDir, 'node.lock'), self, alive)
      if (!('release' in result)) {
        const { name, pid } = result
        throw new HsuError(
          'NODE_EXISTS',
          `node '${name}' (pid ${pid}) already runs with ${dataDir}; stop it with hsu down, or choose another directory with --data-dir`,
          { details: { node: name, pid, dataDir } },
        )
      }
      held = result
    },
    async passTo(next) {
      const token = await tokenOf(table, next)
      if (held === undefined || token === undefined) {
        throw new HsuError('NOT_STARTED', `the data directory cannot be passed to process ${next}`)
      }
      await held.passTo({ pid: next, token, name: nodeName })
      held = undefined
    },
    async stop() {
      await held?.release()
      held = undefined
    },
  }
}

/** Tells this run of a process from every other; undefined when there is no such process. */
async function tokenOf(table: ProcessTable, pid: number): Promise<string | undefined> {
  const identity = await identify(table, pid)
  return identity === undefined ? undefined : `${identity.bootId}/${identity.startTime}`
}
