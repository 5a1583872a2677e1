import { systemClock } from '../base/system-clock.ts'
import type { ProcessHost } from './host.ts'
import { hostLimits } from './limits/host-limits.ts'
import { systemBackends } from './limits/system-limits.ts'
import { posixHost } from './posix-host.ts'
import { runCommand } from './posix-host-run.ts'
import { systemProcessTable } from './system-table.ts'
import { windowsHost } from './windows-host.ts'

/** The operating system this node runs on. On Windows every operation answers `UNSUPPORTED`. */
export function systemHost(): ProcessHost {
  const table = systemProcessTable(runCommand(systemClock))
  return process.platform === 'win32'
    ? windowsHost(table)
    : posixHost({ clock: systemClock, table, limits: hostLimits(systemClock, systemBackends) })
}
