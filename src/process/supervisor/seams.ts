import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import type { Store } from '../../base/store.ts'
import type { Elsewhere } from '../dependency-gate.ts'
import type { ProcessHost } from '../host.ts'
import type { ScheduleMesh } from '../jobs/schedule-mesh.ts'
import type { EnvironmentOf } from '../launch.ts'
import type { Output } from '../output.ts'
import type { GrpcProber } from '../probes/grpc.ts'
import type { Restraints } from '../restraint.ts'
import type { InstanceStatus } from '../status.ts'
import type { FileWatcher } from '../watch/file-watcher.ts'

/** What a supervisor needs of the world. */
export interface SupervisorSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly environmentOf: EnvironmentOf
  /**
   * Called before the stop signal of an instance that was ready: offers it to nobody any more; resolves when its callers know, or
   * after a bounded while. Default: nobody is to be told.
   */
  readonly withdraw?: (unit: string, instance: string, signal: AbortSignal) => Promise<void>
  /** Called after `withdraw`: resolves when no call to the instance is under way. Bounded by `stop.drain`. */
  readonly drain: (unit: string, instance: string, signal: AbortSignal) => Promise<void>
  /** Resolves when callers know of an instance that has become ready, or after a bounded while. Default: at once. */
  readonly announced?: (instance: InstanceStatus, signal: AbortSignal) => Promise<void>
  /** The other nodes, for schedules of `scope: mesh`. Default: there are none. */
  readonly scheduleMesh?: ScheduleMesh
  /** Gives the ids of events. Default: numbers that begin anew with each supervisor. */
  readonly nextEventId?: () => string
  /** Id of the event that tells what the node itself is doing; '' = nothing is known of it. */
  readonly nodeEvent?: () => string
  /** The units of other nodes. Default: this node is alone. */
  readonly elsewhere?: Elsewhere
  /** Who may hold units back for reasons outside them. Default: nobody. */
  readonly restraints?: Restraints
  /** Where the output of units goes. Default: files in `logDir`. */
  readonly output?: Output
  /** Tells of changes of files. Default: chokidar, loaded when a unit has files to watch. */
  readonly fileWatcher?: FileWatcher
}

export interface SupervisorConfig {
  /** Files of running instances; must outlive the node. Absolute. */
  readonly runDir: string
  /** What the units wrote. Absolute. */
  readonly logDir: string
  /** True when this goes on where another supervisor stopped a moment ago: what was stopped stays so, whatever its policy. */
  readonly goesOn?: boolean
}
