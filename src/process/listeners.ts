import { HsuError } from '../base/error.ts'
import { type ProcessTable, treeOf } from './process-table.ts'

/**
 * Whether a process in the tree of `rootPid` listens on tcp `port`. Another process may listen on the same port
 * (SO_REUSEPORT, or one that was there first), so an answer from the port alone proves nothing.
 * Undefined when this system, or the permissions of the processes, do not let us tell.
 */
export async function ownsListener(table: ProcessTable, rootPid: number, port: number): Promise<boolean | undefined> {
  const pids = treeOf(rootPid, await table.list()).map(({ pid }) => pid)
  try {
    const listeners = (await table.listeners({ protocol: 'tcp', port, pids })).filter(
      (listener) => listener.protocol === 'tcp' && listener.port === port,
    )
    if (listeners.some((listener) => listener.pids.some((pid) => pids.includes(pid)))) return true
    return listeners.some(({ hidden }) => hidden === true) ? undefined : false
  } catch (error) {
    if (error instanceof HsuError && error.reason === 'UNSUPPORTED') return undefined
    throw error
  }
}
