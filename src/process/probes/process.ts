import type { ProcessIdentity } from '../identity.ts'
import type { Probe } from '../probe.ts'
import { isSame, type ProcessTable } from '../process-table.ts'

/** Passing while the very process of the instance lives. */
export function processProbe(table: ProcessTable, identity: ProcessIdentity): Probe {
  return async () => {
    if (await isSame(table, identity)) return true
    throw new Error(`process ${identity.pid} is gone`)
  }
}
