import type { CheckHealth, HealthState } from './checks.ts'
import type { Exit } from './exit.ts'
import type { LimitMode } from './limits/plan.ts'
import type { Resource } from './limits/resources.ts'
import type { UnitPhase } from './unit-state.ts'
import type { Usage } from './usage.ts'

/**
 * The phases of a managed instance, where `asleep` is down until it is called; of an unmanaged unit, whether its process is
 * found: `up`, `absent`, `ambiguous`.
 */
export type UnitStateName = UnitPhase | 'asleep' | 'absent' | 'ambiguous'

/** What is known of one slot of a unit at this moment. */
export interface InstanceStatus {
  readonly unit: string
  /** Name of the present or last instance; '' before the first start. */
  readonly instance: string
  readonly replica: number
  readonly kind: 'managed' | 'unmanaged' | 'integrated'
  readonly state: UnitStateName
  readonly ready: boolean
  /** The unit's own program; undefined when none runs. */
  readonly pid: number | undefined
  /** Wall clock. */
  readonly startedAtMs: number | undefined
  readonly restarts: number
  /** Cores busy, the whole tree. */
  readonly cpu: number
  /** The whole tree. */
  readonly rssBytes: number
  /** All that is known of what its processes use; undefined when none runs or none was read yet. */
  readonly usage?: Usage | undefined
  readonly ports: Readonly<Record<string, number>>
  /** How the last instance ended; undefined while one runs, and when nobody saw it. */
  readonly exit: Exit | undefined
  /** Why the state is what it is, in words; empty when there is nothing to say. */
  readonly reason: string
  /** What was asked for; of an unmanaged unit always `up`. */
  readonly want: 'up' | 'down'
  /** Empty when it has none. */
  readonly limits: readonly LimitStatus[]
  /** When it is tried again by itself, wall clock; undefined when it is not waiting for that. */
  readonly retryAtMs: number | undefined
  /** It served, ended by itself for the first time in a while, and is about to be started again. Left out = false. */
  readonly recovers?: boolean
  /** Id of the event that explains the state; '' when there is none. */
  readonly eventId: string
  /** What the checks of an unmanaged unit say of its process; undefined while there is none. */
  readonly health?: UnitHealth | undefined
  /** Where an unmanaged unit comes from, in words: `configuration`, or who attached it. */
  readonly origin?: string
  /** Of a job, and of any unit that is run as one. */
  readonly job?: JobStatus
}

/** What is known of the runs of a job. */
export interface JobStatus {
  /** The run that the instance belongs to, or the last one; '' = there was none. */
  readonly run: string
  /** Its cron expression; '' = it has none. */
  readonly schedule: string
  /** Runs of the unit that have not ended. */
  readonly active: number
  /** When it runs next by itself, wall clock. */
  readonly nextRunMs: number | undefined
}

/** The worst of its checks, and all of them. */
export interface UnitHealth {
  readonly state: HealthState
  readonly checks: readonly CheckHealth[]
}

/** How an instance ended that was asked to. */
export interface StoppedInstance {
  readonly unit: string
  readonly instance: string
  /** SIGKILL when its grace was over; undefined when nobody saw how it ended. */
  readonly exit: Exit | undefined
  readonly tookMs: number
}

/** One limit of a unit and how it is seen to on this host. */
export interface LimitStatus {
  readonly resource: Resource
  readonly value: number
  readonly mode: LimitMode
  /** By what, or why not. */
  readonly by: string
  /** At the last reading; undefined when nothing runs, or it is not measured. */
  readonly used: number | undefined
}

export type ProcessEventType =
  | 'unit.requested'
  | 'unit.rolling'
  | 'unit.rolling_stopped'
  | 'unit.waiting'
  | 'unit.dependency_lost'
  | 'unit.dependency_back'
  | 'unit.started'
  | 'unit.adopted'
  | 'unit.ready'
  | 'unit.unready'
  | 'unit.unhealthy'
  | 'unit.limit_near'
  | 'unit.limit_exceeded'
  | 'unit.limit_raised'
  | 'unit.limit_throttled'
  | 'unit.limit_kept'
  | 'unit.logs_lost'
  | 'unit.logs_kept'
  | 'unit.exited'
  | 'unit.stopping'
  | 'unit.backoff'
  | 'unit.failed'
  | 'unit.completed'
  | 'unit.down'
  | 'unit.asleep'
  | 'unit.changed'
  | 'unit.unwatched'
  | 'unit.held'
  | 'unit.released'
  | 'run.started'
  | 'run.completed'
  | 'run.failed'
  | 'run.stopped'
  | 'run.skipped'
  | 'run.missed'
  | 'unit.found'
  | 'unit.lost'
  | 'unit.ambiguous'
  | 'unit.attached'
  | 'unit.detached'
  | 'unit.refused'
  | 'unit.healthy'
  | 'unit.degraded'

/** Something that happened to a unit. */
export interface ProcessEvent {
  /** Unlike that of any other event of this node; later events have later ids. */
  readonly id: string
  readonly wallMs: number
  readonly unit: string
  /** '' when it concerns no instance. */
  readonly instance: string
  readonly type: ProcessEventType
  readonly reason: string
  /** Every fact of `reason` in a form for programs. */
  readonly details: Readonly<Record<string, string>>
  /** What brought it about, in words; empty when it is a first cause. */
  readonly cause: string
  /** Id of the event that brought it about; empty when it is a first cause. */
  readonly causedBy: string
  /** Who asked for it, in words; empty when nobody did. */
  readonly actor: string
}
