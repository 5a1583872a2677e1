import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { every } from '../base/every.ts'
import { background, type Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { ProcessIdentity } from './identity.ts'
import {
  indexTree,
  type ProcessDetails,
  type ProcessInfo,
  type ProcessTable,
  type TreeIndex,
  treeOf,
} from './process-table.ts'
import { createPssBook } from './pss.ts'
import { isSameProcess, measure, type ProcessSample, type Reading, type Usage } from './usage.ts'

/** After so many readings every process is looked at again: the pid of a stranger may have become that of one of ours. */
const READINGS_BETWEEN_FULL_LOOKS = 15

/** Processor time is counted in steps of 10 ms, so a process can do a little without its showing; it shows after this. */
const MAX_DETAILS_AGE_MS = 15_000

/** One sampler for all units: one look at the process table a tick. */
export interface Meter extends Service {
  /** Begins to measure the tree of `root`; the returned function ends it. */
  track(root: ProcessIdentity, onUsage: (usage: Usage) => void): () => void
}

export interface MeterConfig {
  /** Time between two readings. Shorter shows more and costs more; `top` uses 2 s. */
  readonly intervalMs: number
}

export interface MeterSeams {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly log: Log
  /** Called after each reading, when all units have been told. */
  readonly onReading?: () => void
}

interface Tracked {
  readonly root: ProcessIdentity
  readonly onUsage: (usage: Usage) => void
  reading: Reading | undefined
}

/** A process as read, and when its details were. */
type Sampled = ProcessSample & { readonly detailsAtMs: number }

/** Reads nothing while nothing is tracked. A root that is gone uses nothing, unless others of its group live on. */
export function createMeter({ clock, table, log, onReading }: MeterSeams, { intervalMs }: MeterConfig): Meter {
  const tracked = new Set<Tracked>()
  const pss = createPssBook({ clock, table })
  /** All processes of units, by pid, as of the last reading. */
  let alive: ReadonlyMap<number, Sampled> = new Map()
  /** Processes that belong to no unit, which are not read again for a while. */
  let strangers = new Set<number>()
  let readings = 0
  let reported = false

  async function tick(): Promise<void> {
    if (tracked.size === 0) return
    if (readings % READINGS_BETWEEN_FULL_LOOKS === 0) strangers = new Set()
    readings += 1
    const skipped = strangers
    const list = await table.list(skipped)
    alive = readAll(list)
    // Whoever began to be tracked meanwhile has emptied the set: then nothing is learnt from this reading.
    if (skipped === strangers) for (const { pid } of list) if (!alive.has(pid)) strangers.add(pid)
    onReading?.()
    await pss.refresh(alive)
  }

  /** Tells every unit what it uses. Gives the processes of all of them. */
  function readAll(list: readonly ProcessInfo[]): ReadonlyMap<number, Sampled> {
    const index = indexTree(list)
    const atMs = clock.nowMs()
    const found = new Map<number, Sampled>()
    for (const entry of tracked) {
      const tree = treeOfRoot(entry.root, index).map((info) => {
        const sample = found.get(info.pid) ?? sampleOf(info, atMs)
        found.set(info.pid, sample)
        return sample
      })
      const usage = measure(entry.reading, { atMs, tree })
      entry.reading = { atMs, tree, usage }
      entry.onUsage(usage)
    }
    return found
  }

  /** Picks what is measured, because the rest of `info` would be read from the system by a mere copy. */
  function sampleOf(info: ProcessInfo, atMs: number): Sampled {
    const { pid, startTime, cpuMs, reapedCpuMs = 0, rssBytes, virtualBytes, threads } = info
    const { files, ioReadBytes, ioWriteBytes, detailsAtMs } = detailsOf(info, atMs)
    const pssBytes = pss.of(info)
    const own = { pid, startTime, cpuMs, reapedCpuMs, rssBytes, virtualBytes, threads, pssBytes }
    return { ...own, files, ioReadBytes, ioWriteBytes, detailsAtMs }
  }

  /** A process that has not run since its details were read has neither opened a file nor written to one. */
  function detailsOf(info: ProcessInfo, atMs: number): ProcessDetails & { readonly detailsAtMs: number } {
    const last = alive.get(info.pid)
    const isFresh = last !== undefined && atMs - last.detailsAtMs < MAX_DETAILS_AGE_MS
    if (isFresh && isSameProcess(last, info) && last.cpuMs === info.cpuMs) return last
    return { ...table.details?.(info.pid), detailsAtMs: atMs }
  }

  const loop = (signal: AbortSignal): Promise<void> =>
    every(tick, signal, {
      intervalMs,
      jitter: 0,
      clock,
      random: { next: () => 0 },
      onError(error) {
        // Each tick would fail in the same way.
        if (!reported) log.warn('usage of units cannot be read', { cause: messageOf(error) })
        reported = true
      },
    })

  return {
    ...background('meter', loop),
    track(root, onUsage) {
      const entry: Tracked = { root, onUsage, reading: undefined }
      tracked.add(entry)
      strangers = new Set()
      return () => void tracked.delete(entry)
    },
  }
}

/** The tree of exactly this root: empty when the pid now belongs to another process. */
function treeOfRoot(root: ProcessIdentity, index: TreeIndex): readonly ProcessInfo[] {
  const found = index.byPid.get(root.pid)
  return found !== undefined && found.startTime !== root.startTime ? [] : treeOf(root.pid, index)
}
