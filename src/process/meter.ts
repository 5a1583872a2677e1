import { every } from '../base/every.ts'
import type { Clock } from '../base/clock.ts'
import { background, type Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import { messageOf } from '../base/error.ts'
import type { ProcessIdentity } from './identity.ts'
import { indexTree, type ProcessInfo, type ProcessTable, type TreeIndex, treeOf } from './process-table.ts'

/** What a tree of processes uses. */
export interface Usage {
  /** Cores busy since the reading before; 0 in the first. */
  readonly cpu: number
  readonly rssBytes: number
  /** Processes alive in the tree. */
  readonly processes: number
}

/** One tree at one moment. */
export interface Reading {
  readonly atMs: number
  readonly tree: readonly ProcessInfo[]
}

export const NO_USAGE: Usage = { cpu: 0, rssBytes: 0, processes: 0 }

/**
 * The usage of a tree from two readings of it.
 *
 * The time of a child that ended moves to the parent that waited for it, so the sum over the tree, reaped
 * children included, misses none of them, however short they lived. When a child ends that nobody waits
 * for, the sum shrinks; then the processes that are in both readings say at least how much was used.
 */
export function measure(previous: Reading | undefined, now: Reading): Usage {
  const rssBytes = now.tree.reduce((sum, { rssBytes }) => sum + rssBytes, 0)
  const usage = { cpu: 0, rssBytes, processes: now.tree.length }
  const elapsedMs = previous === undefined ? 0 : now.atMs - previous.atMs
  if (previous === undefined || elapsedMs <= 0) return usage
  const before = new Map(previous.tree.map((info) => [keyOf(info), info]))
  const ownMs = now.tree.reduce((sum, info) => sum + Math.max(0, info.cpuMs - (before.get(keyOf(info))?.cpuMs ?? 0)), 0)
  const grownMs = totalMs(now.tree) - totalMs(previous.tree)
  return { ...usage, cpu: Math.max(ownMs, grownMs) / elapsedMs }
}

function keyOf({ pid, startTime }: ProcessInfo): string {
  return `${pid} ${startTime}`
}

function totalMs(tree: readonly ProcessInfo[]): number {
  return tree.reduce((sum, { cpuMs, reapedCpuMs = 0 }) => sum + cpuMs + reapedCpuMs, 0)
}

/** One sampler for all units: one look at the process table a tick. */
export interface Meter extends Service {
  /** Begins to measure the tree of `root`; the returned function ends it. */
  track(root: ProcessIdentity, onUsage: (usage: Usage) => void): () => void
}

export interface MeterConfig {
  /** Time between two readings. Shorter shows more and costs more; `top` uses 2 s. */
  readonly intervalMs: number
}

interface Tracked {
  readonly root: ProcessIdentity
  readonly onUsage: (usage: Usage) => void
  reading: Reading | undefined
}

/** Reads nothing while nothing is tracked. A root that is gone uses nothing, unless others of its group live on. */
export function createMeter(
  { clock, table, log }: { clock: Clock; table: ProcessTable; log: Log },
  { intervalMs }: MeterConfig,
): Meter {
  const tracked = new Set<Tracked>()
  let reported = false

  async function tick(): Promise<void> {
    if (tracked.size === 0) return
    const index = indexTree(await table.list())
    const atMs = clock.nowMs()
    for (const entry of tracked) {
      const now = { atMs, tree: treeOfRoot(entry.root, index) }
      entry.onUsage(measure(entry.reading, now))
      entry.reading = now
    }
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
      return () => void tracked.delete(entry)
    },
  }
}

/** The tree of exactly this root: empty when the pid now belongs to another process. */
function treeOfRoot(root: ProcessIdentity, index: TreeIndex): readonly ProcessInfo[] {
  const found = index.byPid.get(root.pid)
  return found !== undefined && found.startTime !== root.startTime ? [] : treeOf(root.pid, index)
}
