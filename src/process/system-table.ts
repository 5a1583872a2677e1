import { HsuError } from '../base/error.ts'
import { portableTable } from './portable-table.ts'
import { procTable } from './proc-table.ts'
import type { ProcessTable } from './process-table.ts'
import type { RunCommand } from './run-command.ts'

/** The process table of this machine: /proc on Linux, `ps` and pidusage on other POSIX systems. */
export function systemProcessTable(run: RunCommand): ProcessTable {
  if (process.platform === 'linux' || process.platform === 'android') return procTable()
  if (process.platform === 'win32') return unsupportedTable()
  return portableTable(run)
}

function unsupportedTable(): ProcessTable {
  const refuse = (): Promise<never> =>
    Promise.reject(
      new HsuError('UNSUPPORTED', 'the processes of Windows cannot be looked at yet; run HSU on Linux or macOS'),
    )
  return { bootId: refuse, list: refuse, get: refuse, marked: refuse, listeners: refuse }
}
