import type { ProcessHost } from '../host.ts'
import type { ProcessTable } from '../process-table.ts'
import type { LimitMeans } from './plan.ts'
import type { Resource } from './resources.ts'

/** What this host has to see to limits with. */
export async function meansOf(host: Pick<ProcessHost, 'table' | 'kernelLimits'>): Promise<LimitMeans> {
  return { kernel: await host.kernelLimits(), watchable: watchableOf(host.table) }
}

/** What the use of can be measured. */
export function watchableOf(table: ProcessTable): ReadonlySet<Resource> {
  return new Set(table.details !== undefined ? [...ALWAYS, ...DETAILS] : ALWAYS)
}

const ALWAYS: readonly Resource[] = ['memory', 'cpu', 'pids']
const DETAILS: readonly Resource[] = ['files', 'io.read', 'io.write']
