import { HsuError } from '../base/error.ts'
import type { ProcessHost } from './host.ts'
import type { ProcessTable } from './process-table.ts'

/** `ProcessHost` for Windows: says honestly that it cannot run units there yet, operation by operation. */
export function windowsHost(table: ProcessTable): ProcessHost {
  const refuse = async (): Promise<never> => {
    throw new HsuError('UNSUPPORTED', 'units cannot be run on Windows yet; run the node on Linux or macOS')
  }
  return {
    table,
    environment: () => ({}),
    spawn: refuse,
    adopt: refuse,
    signal: refuse,
    signalGroup: refuse,
    kernelLimits: async () => ({ enforces: new Map(), slowsMemory: false }),
    cellOf: async () => undefined,
    instances: async () => [],
    discard: async () => undefined,
    run: refuse,
    freePort: refuse,
    isPortFree: refuse,
  }
}
