import type { Random } from '../base/random.ts'
import type { RestartConfig } from './config.ts'
import type { Exit } from './exit.ts'

/** How far a managed instance has come. */
export type UnitPhase = 'down' | 'starting' | 'up' | 'stopping' | 'backoff' | 'failed' | 'completed'

/** What can happen to a slot; the three timers are the ones of `timerOf`. */
export type UnitEventType =
  | 'wantUp'
  | 'wantDown'
  | 'restart'
  | 'forceRestart'
  | 'hold'
  | 'sleep'
  | 'blocked'
  | 'admitted'
  | 'spawnFailed'
  | 'ready'
  | 'unready'
  | 'unhealthy'
  | 'overused'
  | 'exited'
  | 'startTimeout'
  | 'stableTimer'
  | 'backoffTimer'
  | 'retryTimer'

export interface UnitEvent {
  readonly type: UnitEventType
  /** In words, for people; may be empty. */
  readonly reason: string
  /** Only of `exited`; undefined when nobody saw how the process ended. */
  readonly exit: Exit | undefined
  /** What led to it, when that is not the state the slot was in; '' or absent otherwise. */
  readonly causedBy?: string
  /** Only of `blocked`: the unit that is waited for. */
  readonly awaited?: string | undefined
  /** Only of `unready` and `unhealthy`: what the probe saw. */
  readonly facts?: ProbeFacts | undefined
  /** Of `overused`, how it is to be ended for having exceeded a limit; of `exited`, that the kernel ended it for that. */
  readonly overuse?: 'restart' | 'stop' | 'kill' | 'killed' | undefined
}

/** What made a probe's verdict. */
export interface ProbeFacts {
  readonly probe: string
  /** Failures in a row. */
  readonly failures: number
  /** The last reasons, oldest first, each once. */
  readonly reasons: readonly string[]
}

/**
 * `admit`: ask whether the dependencies allow a start. `terminate`: drain, signal, grace, kill. `hurry`: do not drain, or
 * no longer. `kill`: at once.
 */
export type UnitEffect = 'admit' | 'spawn' | 'terminate' | 'hurry' | 'kill'

export interface UnitState {
  readonly phase: UnitPhase
  /** What the operator asked for; `phase` is how far we have come. */
  readonly want: 'up' | 'down'
  readonly ready: boolean
  /** The present instance, or the last one, was ready once. Not remembered when the node ends. */
  readonly served: boolean
  /** Starts so far: the number of the present one. */
  readonly generation: number
  /** Starts that followed an end of the instance before, asked for or not. */
  readonly restarts: number
  /** Ends in a row with no stable time between; grows the backoff. */
  readonly streak: number
  /** Monotonic times of the crashes that still count for giving up, oldest first. */
  readonly crashesAtMs: readonly number[]
  /** True from giving up until the unit has been stable again: the next crash is one too many (a half-open breaker). */
  readonly gaveUp: boolean
  /** How long `backoff` or `failed` lasts; undefined = until somebody asks. */
  readonly waitMs: number | undefined
  /** Monotonic time at which that wait is over. */
  readonly untilMs: number | undefined
  /** Once it has ended, the dependencies are asked before it is started anew. */
  readonly held: boolean
  /** It is down, or on its way there, until somebody calls it. */
  readonly asleep: boolean
  /** Why the instance is being ended, when it is by us for its own fault; empty otherwise. */
  readonly fault: string
  /** Whether that fault is an exceeded limit. */
  readonly overuse: boolean
  /** How the last instance ended. */
  readonly exit: Exit | undefined
  /** Why the phase is what it is, in words; empty when there is nothing to say. */
  readonly reason: string
}

export interface Step {
  readonly state: UnitState
  readonly effects: readonly UnitEffect[]
}

/** What a step needs to know besides state and event. */
export interface StepRules {
  readonly restart: RestartConfig
  /** Time from spawn to ready before the start counts as failed. */
  readonly startWithinMs: number
  readonly nowMs: number
  readonly random: Random
}

export const INITIAL_STATE: UnitState = {
  phase: 'down',
  want: 'down',
  ready: false,
  served: false,
  generation: 0,
  restarts: 0,
  streak: 0,
  crashesAtMs: [],
  gaveUp: false,
  waitMs: undefined,
  untilMs: undefined,
  held: false,
  asleep: false,
  fault: '',
  overuse: false,
  exit: undefined,
  reason: '',
}

/** The reason of a stop that was asked for. */
export const STOPPED = 'stopped'

/** A phase that lasts until something happens. */
export const NO_WAIT = { waitMs: undefined, untilMs: undefined } as const
