import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { createTaskGroup, type TaskGroup } from '../../base/task-group.ts'
import type { Tell } from '../causes.ts'
import type { UnitSpec } from '../launch.ts'
import type { FileWatcher } from './file-watcher.ts'
import { watchFiles } from './unit-watch.ts'

/** What a change of files brings about. */
export interface ChangeActions {
  /** Starts the unit anew, unless it is wanted down. */
  renew(unit: string, reason: string, causedBy: string): void
  /** Sends a signal to the programs of the unit that run. */
  signal(unit: string, name: NodeJS.Signals): Promise<void>
}

/** The watched files of all units. */
export interface Watches {
  /** Watches what `spec` names, and no longer what it named before. */
  put(spec: UnitSpec): Promise<void>
  delete(unit: string): Promise<void>
  close(): Promise<void>
}

export interface WatchSeams {
  readonly clock: Clock
  readonly log: Log
  readonly tell: Tell
  /** Loaded when the first unit wants it. */
  readonly watcher: () => Promise<FileWatcher>
}

export function createWatches({ clock, log, tell, watcher }: WatchSeams, actions: ChangeActions): Watches {
  const watches = new Map<string, { readonly tasks: TaskGroup; readonly text: string }>()

  async function remove(unit: string): Promise<void> {
    const present = watches.get(unit)
    watches.delete(unit)
    await present?.tasks.stop()
  }

  function changed(spec: UnitSpec, files: readonly string[], count: number): void {
    const { name: unit, config } = spec
    const { on_change: action = 'restart', signal = 'SIGHUP' } = config.watch ?? {}
    const more = count > files.length ? ` and more` : ''
    const reason = `${files.join(', ')}${more} changed`
    const details = { files: files.join(' '), changes: String(count), action }
    const causedBy = tell({ unit, instance: '', type: 'unit.changed', reason, details, cause: '' })
    if (action === 'restart') actions.renew(unit, reason, causedBy)
    else void actions.signal(unit, signal).catch((error: unknown) => log.warn('watch: no signal sent', { unit, error }))
  }

  function fault({ name: unit }: UnitSpec, reason: string): void {
    const text = `its files are watched no more: ${reason}`
    log.warn('files of a unit are not watched', { unit, cause: reason })
    tell({ unit, instance: '', type: 'unit.unwatched', reason: text, details: {}, cause: reason })
  }

  return {
    async put(spec) {
      const text = JSON.stringify([spec.config.watch, spec.config.cwd, spec.baseDir])
      if (watches.get(spec.name)?.text === text) return
      await remove(spec.name)
      if (spec.config.watch === undefined) return
      const tasks = createTaskGroup((error) => fault(spec, String(error)))
      watches.set(spec.name, { tasks, text })
      tasks.run(async (signal) => {
        const report = {
          onChange: (files: readonly string[], count: number) => changed(spec, files, count),
          onFault: (reason: string) => fault(spec, reason),
        }
        await watchFiles({ clock, watcher: await watcher() }, spec, report, signal)
      })
    },
    delete: remove,
    async close() {
      await Promise.all([...watches.keys()].map(remove))
    },
  }
}
