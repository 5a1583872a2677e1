import type { Clock } from '../base/clock.ts'
import type { ProcessInfo, ProcessTable } from './process-table.ts'
import { isSameProcess } from './usage.ts'

/** The kernel walks all page tables of a process to answer: 0.1 ms for a small one. So each is asked this seldom... */
const MAX_AGE_MS = 60_000
/** ...so many are asked at a time... */
const MAX_READS = 16
/** ...and those in which the walk takes long are not asked at all. */
const MAX_RSS_BYTES = 8 * 1024 ** 3

type Measured = Pick<ProcessInfo, 'pid' | 'startTime' | 'rssBytes'>

/** The proportional memory of processes, read bit by bit. */
export interface PssBook {
  /** As last read; undefined until then, and for what does not tell. */
  of(info: Measured): number | undefined
  /** Reads those of `alive` (by pid) whose figures are missing or oldest, a bounded number; forgets all others. */
  refresh(alive: ReadonlyMap<number, Measured>): Promise<void>
}

interface Entry {
  readonly pid: number
  readonly startTime: string
  readonly bytes: number | undefined
  readonly readAtMs: number
}

export function createPssBook({ clock, table }: { clock: Clock; table: ProcessTable }): PssBook {
  const entries = new Map<number, Entry>()

  function entryOf(info: Measured): Entry | undefined {
    const entry = entries.get(info.pid)
    return entry !== undefined && isSameProcess(entry, info) ? entry : undefined
  }

  function dueOf(alive: Iterable<Measured>, nowMs: number): readonly Measured[] {
    const due: { readonly info: Measured; readonly readAtMs: number }[] = []
    for (const info of alive) {
      const readAtMs = entryOf(info)?.readAtMs ?? Number.NEGATIVE_INFINITY
      if (nowMs - readAtMs >= MAX_AGE_MS && info.rssBytes <= MAX_RSS_BYTES) due.push({ info, readAtMs })
    }
    due.sort((one, other) => one.readAtMs - other.readAtMs)
    return due.slice(0, MAX_READS).map(({ info }) => info)
  }

  return {
    of: (info) => entryOf(info)?.bytes,
    async refresh(alive) {
      const read = table.pssBytes?.bind(table)
      if (read === undefined) return
      for (const pid of entries.keys()) if (!alive.has(pid)) entries.delete(pid)
      const nowMs = clock.nowMs()
      for (const { pid, startTime } of dueOf(alive.values(), nowMs)) {
        entries.set(pid, { pid, startTime, bytes: await read(pid), readAtMs: nowMs })
      }
    },
  }
}
