import type { Clock } from '../base/clock.ts'
import type { ProcessTable } from './process-table.ts'
import { measure, type Reading, type Usage } from './usage.ts'

/** Asked more often than this, it tells what it told last: a rate over less means nothing. */
const MIN_AGE_MS = 1_000

export interface OwnUsageSeams {
  readonly clock: Clock
  readonly table: ProcessTable
  /** Wall clock. */
  readonly startedAtMs: number
}

/** What the process `pid` uses by itself, without its children: read when it is asked for. Undefined when it is gone. */
export function createOwnUsage(
  { clock, table, startedAtMs }: OwnUsageSeams,
  pid: number,
): () => Promise<Usage | undefined> {
  let last: Reading | undefined

  return async () => {
    const atMs = clock.nowMs()
    if (last !== undefined && atMs - last.atMs < MIN_AGE_MS) return last.usage
    const info = await table.get(pid)
    if (info === undefined) return undefined
    const { startTime, cpuMs, rssBytes, virtualBytes, threads } = info
    // Time of children is theirs: what a unit uses must not show as the node's.
    const own = { pid, startTime, cpuMs, reapedCpuMs: 0, rssBytes, virtualBytes, threads }
    const sample = { atMs, tree: [{ ...own, ...table.details?.(pid), pssBytes: await table.pssBytes?.(pid) }] }
    const measured = measure(last, sample)
    // Before there are two readings: on average since the start.
    const ageMs = Math.max(1, clock.wallMs() - startedAtMs)
    const usage = last === undefined ? { ...measured, cpu: measured.cpuMs / ageMs } : measured
    last = { ...sample, usage }
    return usage
  }
}
