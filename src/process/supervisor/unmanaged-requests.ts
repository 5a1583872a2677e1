import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { FindConfig } from '../config.ts'
import type { MainPidOf } from '../find-service.ts'
import type { ProcessIdentity } from '../identity.ts'
import type { UnitSpec } from '../launch.ts'
import { type Look, lookFor } from '../look.ts'
import { type Portrait, portray } from '../portrait.ts'
import type { ProcessTable } from '../process-table.ts'
import type { AttachedUnits } from './attached.ts'
import type { Reconciler } from './reconciler.ts'
import type { StatusNews } from './status-news.ts'
import type { Turns } from './turns.ts'
import { isOwned, type UnitSet } from './unit-set.ts'

/** What people may ask about processes that run already. */
export interface UnmanagedRequests {
  /**
   * Adds an unmanaged unit to those of `apply`, until it is detached. A unit of that name among them wins: then the answer
   * is false, and this one waits until that is gone. `known` = as what it was found. @throws HsuError `NOT_STARTED`
   */
  attachUnit(spec: UnitSpec, known?: ProcessIdentity): Promise<boolean>
  /** Forgets such a unit; its process is not touched. False when there is none. @throws HsuError `NOT_STARTED` */
  detachUnit(unit: string): Promise<boolean>
  /** Looks once for a process. @throws HsuError `PROCESS_NOT_FOUND`, `UNSUPPORTED` */
  lookFor(find: FindConfig, aim: LookAim, signal: AbortSignal): Promise<Look>
  /** How the process of an unmanaged unit was started. @throws HsuError `UNIT_NOT_FOUND`, `NOT_STARTED`, `USAGE`, `NOT_PERMITTED` */
  portrayUnit(unit: string): Promise<Portrait>
}

/** Around whom, and from where, a process is looked for. */
export interface LookAim {
  /** What a relative path is relative to. */
  readonly baseDir: string
  /** Processes that are not meant: those of whoever asks. */
  readonly notPids: readonly number[]
}

export interface UnmanagedRequestSeams {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly mainPidOf: MainPidOf
  readonly units: UnitSet
  readonly turns: Turns
  readonly reconciler: Pick<Reconciler, 'watch' | 'remove'>
  readonly attached: AttachedUnits
  readonly news: Pick<StatusNews, 'gone'>
}

export function createUnmanagedRequests(seams: UnmanagedRequestSeams): UnmanagedRequests {
  const { clock, table, mainPidOf, units, turns, reconciler, attached, news } = seams
  return {
    async attachUnit(spec, known) {
      const looked = await turns.take(async () => {
        attached.put(spec, known)
        // In a box, or this change would last as long as the look.
        if (!units.has(spec.name)) return { first: reconciler.watch(spec) }
        attached.warnOfShadow(spec.name)
        return undefined
      })
      await looked?.first
      return looked !== undefined
    },
    detachUnit: (name) =>
      turns.take(async () => {
        const wasAttached = attached.delete(name)
        const unit = units.get(name)
        if (unit === undefined || unit.spec.origin === undefined) return wasAttached
        const [last] = units.statusesOf(name) ?? []
        await reconciler.remove([name])
        if (last !== undefined) news.gone({ ...last, state: 'absent', ready: false, pid: undefined })
        return wasAttached
      }),
    lookFor: (find, aim, signal) => lookFor(find, { clock, table, selfPid: process.pid, mainPidOf, ...aim }, signal),
    async portrayUnit(name) {
      const unit = units.find(name)
      if (isOwned(unit)) throw new HsuError('USAGE', `unit '${name}' is managed already`, { details: { unit: name } })
      const { identity, status } = unit.watched
      if (identity !== undefined) return portray(identity, table)
      throw new HsuError('NOT_STARTED', `unit '${name}' has no process: it is ${status.state}`, {
        details: { unit: name },
      })
    },
  }
}
