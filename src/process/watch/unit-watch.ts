import { relative } from 'node:path'
import { aborted, withSignal } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { workingDirectory, type UnitSpec } from '../launch.ts'
import { createWake } from '../../base/wake.ts'
import type { FileWatcher } from './file-watcher.ts'

/** Files and directories of one unit; each costs the system a watch and the node about a kilobyte. */
const MAX_ENTRIES = 10_000
/** Changes without end are not waited for longer than this. */
const MAX_WAIT_MS = 1_500
/** How many files an event names. */
const MAX_NAMED = 5

export interface WatchReport {
  /** A burst of changes is over: the first files of it, relative to the directory of the unit, and how many there were. */
  readonly onChange: (files: readonly string[], count: number) => void
  /** Nothing is watched any more, in words. */
  readonly onFault: (reason: string) => void
}

/** Watches the files of a unit until `signal` aborts; then resolves. A unit that names none resolves at once. */
export async function watchFiles(
  { clock, watcher }: { readonly clock: Clock; readonly watcher: FileWatcher },
  spec: UnitSpec,
  { onChange, onFault }: WatchReport,
  signal: AbortSignal,
): Promise<void> {
  const { watch } = spec.config
  if (watch === undefined) return
  const directory = workingDirectory(spec)
  const { fileSet } = await import('./globs.ts')
  const files = fileSet(directory, watch.paths, watch.ignore)
  const burst = createBurst()
  const end = await watcher.watch(
    { roots: files.roots, isIgnored: files.isIgnored, maxEntries: MAX_ENTRIES },
    { onChange: (path) => files.has(path) && burst.add(relative(directory, path)), onFault },
  )
  try {
    while (!signal.aborted) {
      const { named, count } = await burst.untilQuiet(clock, watch.debounce, signal)
      if (count > 0) onChange(named, count)
    }
  } finally {
    await end()
  }
}

interface Burst {
  add(file: string): void
  /** Resolves when changes began and then stayed away for `quietMs`, or when they do not end; empty once aborted. */
  untilQuiet(clock: Clock, quietMs: number, signal: AbortSignal): Promise<{ named: readonly string[]; count: number }>
}

function createBurst(): Burst {
  const wake = createWake()
  let names = new Set<string>()
  let changes = 0
  return {
    add(file) {
      changes += 1
      if (names.size <= MAX_NAMED) names.add(file)
      wake.notify()
    },
    async untilQuiet(clock, quietMs, signal) {
      await withSignal(signal, (inner) => Promise.race([wake.wait(), aborted(inner)]))
      const endMs = clock.nowMs() + Math.max(quietMs, MAX_WAIT_MS)
      for (let seen = 0; seen !== changes && clock.nowMs() < endMs; ) {
        seen = changes
        await clock.sleep(Math.min(quietMs, endMs - clock.nowMs()), signal).catch(() => undefined)
      }
      const named = [...names].slice(0, MAX_NAMED)
      const count = signal.aborted ? 0 : changes
      names = new Set()
      changes = 0
      return { named, count }
    },
  }
}
