import type { ProcessDetails, ProcessInfo } from './process-table.ts'

/** What a tree of processes uses. A figure that is not known of each of its processes is absent, never 0. */
export interface Usage {
  /** Cores busy since the reading before; 0 in the first. */
  readonly cpu: number
  /** Time of processors used so far, in ms; never shrinks while the tree lives. */
  readonly cpuMs: number
  /** Resident memory. Pages that several processes share count once for each of them. */
  readonly rssBytes: number
  /** Resident memory where a page shared by n processes counts as 1/n for each; read less often than the rest. */
  readonly pssBytes?: number
  /** Address space, most of which may never be touched. */
  readonly virtualBytes?: number
  /** Processes alive in the tree. */
  readonly processes: number
  readonly threads?: number
  /** Open file descriptors. */
  readonly files?: number
  /** Read from storage so far, page cache hits left out; never shrinks while the tree lives. */
  readonly ioReadBytes?: number
  /** Sent to storage so far; never shrinks while the tree lives. */
  readonly ioWriteBytes?: number
}

/** What is measured of one process. */
export type ProcessSample = Pick<
  ProcessInfo,
  'pid' | 'startTime' | 'cpuMs' | 'reapedCpuMs' | 'rssBytes' | 'virtualBytes' | 'threads'
> &
  ProcessDetails & { readonly pssBytes?: number | undefined }

/** One tree at one moment. */
export interface Sample {
  readonly atMs: number
  readonly tree: readonly ProcessSample[]
}

/** A sample and what was made of it. */
export interface Reading extends Sample {
  readonly usage: Usage
}

/**
 * The usage of a tree from two readings of it.
 *
 * The time of a child that ended moves to the parent that waited for it, so the sum over the tree, reaped
 * children included, misses none of them, however short they lived. When a child ends that nobody waits
 * for, the sum shrinks; then the processes that are in both readings say at least how much was used.
 */
export function measure(previous: Reading | undefined, { atMs, tree }: Sample): Usage {
  const elapsedMs = previous === undefined ? 0 : atMs - previous.atMs
  const usedMs =
    previous === undefined ? totalMs(tree) : Math.max(ownMs(previous.tree, tree), grownMs(previous.tree, tree))
  return {
    cpu: elapsedMs > 0 ? usedMs / elapsedMs : 0,
    cpuMs: (previous?.usage.cpuMs ?? 0) + usedMs,
    rssBytes: tree.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    processes: tree.length,
    ...known('pssBytes', sumOf(tree, 'pssBytes')),
    ...known('virtualBytes', sumOf(tree, 'virtualBytes')),
    ...known('threads', sumOf(tree, 'threads')),
    ...known('files', sumOf(tree, 'files')),
    ...known('ioReadBytes', counted('ioReadBytes', previous, tree)),
    ...known('ioWriteBytes', counted('ioWriteBytes', previous, tree)),
  }
}

type Figure = 'pssBytes' | 'virtualBytes' | 'threads' | 'files' | 'ioReadBytes' | 'ioWriteBytes'

function known(figure: Figure, value: number | undefined): Partial<Usage> {
  return value === undefined ? {} : { [figure]: value }
}

/** Undefined unless each process tells, and for no process at all. */
function sumOf(tree: readonly ProcessSample[], figure: Figure): number | undefined {
  let sum = 0
  for (const { [figure]: value } of tree) {
    if (value === undefined) return undefined
    sum += value
  }
  return tree.length === 0 ? undefined : sum
}

/** A counter of the kernel, which adds what a reaped child had to its parent; what a child nobody waited for had is lost. */
function counted(
  figure: 'ioReadBytes' | 'ioWriteBytes',
  previous: Reading | undefined,
  tree: readonly ProcessSample[],
): number | undefined {
  const before = previous?.usage[figure]
  const now = sumOf(tree, figure)
  if (before === undefined || now === undefined) return now ?? before
  const last = previous === undefined ? undefined : sumOf(previous.tree, figure)
  return before + Math.max(0, now - (last ?? now))
}

function ownMs(before: readonly ProcessSample[], now: readonly ProcessSample[]): number {
  let known: ReadonlyMap<number, ProcessSample> | undefined
  const last = (info: ProcessSample, index: number): ProcessSample | undefined => {
    // Nearly always a tree is the one of before, in the same order.
    const there = before[index]
    if (there !== undefined && isSameProcess(there, info)) return there
    const found = (known ??= new Map(before.map((each) => [each.pid, each]))).get(info.pid)
    return found !== undefined && isSameProcess(found, info) ? found : undefined
  }
  return now.reduce((sum, info, index) => sum + Math.max(0, info.cpuMs - (last(info, index)?.cpuMs ?? 0)), 0)
}

function grownMs(before: readonly ProcessSample[], now: readonly ProcessSample[]): number {
  return totalMs(now) - totalMs(before)
}

function totalMs(tree: readonly ProcessSample[]): number {
  return tree.reduce((sum, { cpuMs, reapedCpuMs = 0 }) => sum + cpuMs + reapedCpuMs, 0)
}

type Named = Pick<ProcessInfo, 'pid' | 'startTime'>

/** A pid is used again; a pid and a start time are not, before the next boot. */
export function isSameProcess(one: Named, other: Named): boolean {
  return one.pid === other.pid && one.startTime === other.startTime
}
