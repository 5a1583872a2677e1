import { backoffMs } from '../base/backoff.ts'
import { formatDurationMs } from '../base/quantity.ts'
import type { Random } from '../base/random.ts'
import type { RestartConfig } from './config.ts'
import { profileFactor } from './restart-profile.ts'
import { describeExit, type Exit, isSuccess } from './exit.ts'

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

type Cell = (state: UnitState, event: UnitEvent, rules: StepRules) => Step

const NO_WAIT = { waitMs: undefined, untilMs: undefined } as const

const still = (state: UnitState): Step => ({ state, effects: [] })

const go =
  (phase: UnitPhase, ...effects: UnitEffect[]): Cell =>
  (state, { reason }) => ({ state: { ...state, ...NO_WAIT, phase, ready: false, reason }, effects })

/** A new instance. The first one of a slot is no restart. */
const spawn: Cell = (state, { reason }) => ({
  state: {
    ...state,
    ...NO_WAIT,
    phase: 'starting',
    ready: false,
    served: false,
    fault: '',
    overuse: false,
    reason,
    generation: state.generation + 1,
    restarts: state.restarts + (state.generation > 0 && state.phase !== 'down' ? 1 : 0),
  },
  effects: ['spawn'],
})

const forgiven = (state: UnitState): UnitState => ({ ...state, streak: 0, crashesAtMs: [], gaveUp: false })

/** Asked for by a person: past crashes are forgotten and the dependencies asked again. */
const revive: Cell = (state, event, rules) => go('down', 'admit')(forgiven(state), event, rules)

const admitted: Cell = (state, event, rules) => (state.want === 'up' ? spawn(state, event, rules) : still(state))

const note: Cell = (state, { reason }) => still({ ...state, reason })

const ready: Cell = (state) => still({ ...state, phase: 'up', ready: true, served: true, reason: '' })

const unready: Cell = (state, { reason }) => still({ ...state, ready: false, reason })

/** The reason of the event is what the last probe said. */
const overdue: Cell = (state, { reason }, { startWithinMs }) => {
  const fault = `not ready within ${formatDurationMs(startWithinMs)}${reason === '' ? '' : `: ${reason}`}`
  return { state: { ...state, fault, reason: fault }, effects: ['kill'] }
}

const unhealthy: Cell = (state, event, rules) =>
  go('stopping', 'terminate')({ ...state, fault: event.reason }, event, rules)

const overused: Cell = (state, event, rules) => {
  const faulty = { ...state, fault: event.reason, overuse: true }
  if (event.overuse === 'kill') return { state: { ...faulty, reason: event.reason }, effects: ['kill'] }
  const want = event.overuse === 'stop' ? 'down' : state.want
  return go('stopping', 'terminate')({ ...faulty, want }, event, rules)
}

/** Ended without being asked to. */
const ended: Cell = (state, event, rules) => {
  const seen = { ...state, exit: event.exit }
  if (event.overuse === 'killed') return crashed({ ...seen, overuse: true }, event.reason, rules)
  if (!isSuccess(event.exit, rules.restart.success) || state.fault !== '')
    return crashed(seen, state.fault || describeExit(event.exit), rules)
  const { policy } = rules.restart
  if (policy === 'no' || policy === 'on-failure') return go('completed')(seen, { ...event, reason: '' }, rules)
  return retreat({ ...seen, streak: state.streak + 1 }, describeExit(event.exit), rules)
}

/** A crash counts towards giving up; after that the unit waits as long as the configuration says, or for ever. */
function crashed(state: UnitState, reason: string, rules: StepRules): Step {
  const { policy, give_up } = rules.restart
  const sinceMs = rules.nowMs - give_up.windowMs
  const most = Math.ceil(give_up.crashes * leniency(state, rules))
  const crashesAtMs = [...state.crashesAtMs.filter((atMs) => atMs > sinceMs), rules.nowMs].slice(-most)
  const next = { ...state, crashesAtMs, streak: state.streak + 1, fault: '', ready: false }
  if (policy === 'no') return still({ ...next, ...NO_WAIT, phase: 'failed', reason })
  const tooMany = crashesAtMs.length >= most
  if (!tooMany && !state.gaveUp) return retreat(next, reason, rules)
  const failed = { ...next, phase: 'failed', gaveUp: true, reason } as const
  return still({ ...failed, ...waitOf(rules.restart.then.retryMs, rules) })
}

function retreat(state: UnitState, reason: string, rules: StepRules): Step {
  return still({ ...state, phase: 'backoff', ready: false, reason, ...waitOf(delayMs(state, rules), rules) })
}

function waitOf(waitMs: number | undefined, { nowMs }: StepRules): Pick<UnitState, 'waitMs' | 'untilMs'> {
  return { waitMs, untilMs: waitMs === undefined ? undefined : nowMs + waitMs }
}

function delayMs(state: UnitState, rules: StepRules): number {
  const { restart, random } = rules
  const waitMs = backoffMs(state.streak, { ...restart.backoff, factor: 2, jitter: restart.jitter }, random)
  return waitMs * leniency(state, rules)
}

/** An exceeded limit may be the nature of the work, which the profile tells. */
function leniency({ overuse }: UnitState, { restart }: StepRules): number {
  return overuse ? profileFactor(restart) : 1
}

/** Nothing was started, so the unit is failed at once and shown so; unless its policy is `no`, it is tried again as after a crash. */
const unspawnable: Cell = (state, event, rules) => {
  const { state: next } = crashed(state, event.reason, rules)
  return still({ ...next, phase: 'failed' })
}

/** Ended because we asked it to. */
const stopped: Cell = (state, event, rules) => {
  const seen = { ...state, held: false, exit: event.exit ?? state.exit }
  const heldBack = { ...event, reason: state.reason === STOPPED ? '' : 'stopped until it may run again' }
  if (state.want === 'down') {
    const reason = state.overuse ? state.fault : state.asleep ? state.reason : STOPPED
    return go('down')({ ...seen, fault: '', overuse: false }, { ...event, reason }, rules)
  }
  if (state.fault !== '') {
    const fallen = crashed(seen, state.fault, rules)
    return state.held ? (TABLE[fallen.state.phase].hold?.(fallen.state, heldBack, rules) ?? fallen) : fallen
  }
  if (state.held) return ask(seen, heldBack, rules)
  return spawn(seen, { ...event, reason: '' }, rules)
}

/** A person's wish overrules the fault for which the instance is being ended. */
const pardon: Cell = (state) => still({ ...state, fault: '', overuse: false })

/** While it was wanted down nobody held it, whatever became of what it depends on: so that is asked before it starts again. */
function wanting(state: UnitState, want: UnitState['want']): UnitState {
  if (want === state.want) return state
  return want === 'up' && state.phase === 'stopping'
    ? { ...state, want, held: true, reason: STOPPED }
    : { ...state, want, held: false }
}

/** A person insists: neither dependencies, nor a breaker, nor a drain is waited for. */
const force: Cell = (state, event, rules) => spawn(forgiven(state), event, rules)

const insist: Cell = (state, event, rules) => ({
  ...pardon({ ...state, held: false }, event, rules),
  effects: ['hurry'],
})

const stop = go('stopping', 'terminate')
const hurry = go('stopping', 'hurry', 'terminate')

/** What it depends on has failed, and it is not to run without. */
const hold: Cell = (state, event, rules) => stop({ ...state, held: true }, event, rules)
const holdToo: Cell = (state) => still({ ...state, held: true })
const ask = go('down', 'admit')

/** A failed unit that nothing would start is left as it is. */
const holdRetry: Cell = (state, event, rules) => (state.waitMs === undefined ? still(state) : ask(state, event, rules))

const rest = go('down')

/** Nobody needs it. Whoever calls it wants it up again. */
const sleep: Cell = (state, event, rules) => stop({ ...state, want: 'down', asleep: true }, event, rules)
const sleepOn: Cell = (state, { reason }) => still({ ...state, want: 'down', asleep: true, reason })

/** Every legal move. A missing cell is a stale event (its phase is gone) and changes nothing but `want`. */
// biome-ignore format: a table reads by column
const TABLE: Record<UnitPhase, Partial<Record<UnitEventType, Cell>>> = {
  down:      { wantUp: go('down', 'admit'), restart: go('down', 'admit'), blocked: note, admitted, wantDown: note, forceRestart: force, sleep: sleepOn },
  starting:  { ready, wantDown: stop, restart: stop, forceRestart: hurry, hold, unhealthy, overused, exited: ended, spawnFailed: unspawnable, startTimeout: overdue },
  up:        { ready, unready, wantDown: stop, restart: stop, forceRestart: hurry, hold, sleep, unhealthy, overused, exited: ended, stableTimer: (state) => still(forgiven(state)) },
  stopping:  { wantUp: pardon, restart: pardon, forceRestart: insist, hold: holdToo, exited: stopped, spawnFailed: stopped },
  backoff:   { backoffTimer: spawn, wantUp: revive, restart: revive, forceRestart: force, hold: ask, wantDown: rest },
  failed:    { retryTimer: spawn, wantUp: revive, restart: revive, forceRestart: force, hold: holdRetry, wantDown: rest },
  completed: { wantUp: revive, restart: revive, forceRestart: force, wantDown: rest },
}

/**
 * Advances one slot by one event. Pure: the driver performs `effects` and arms the single timer
 * that belongs to the new phase (see `timerOf`). A stale event returns the very state it was given.
 */
export function step(state: UnitState, event: UnitEvent, rules: StepRules): Step {
  const asked = askedFor(state, wanted(event.type))
  return TABLE[state.phase][event.type]?.(asked, event, rules) ?? still(asked)
}

/** Whatever is asked for, up or down: it sleeps no more. */
function askedFor(state: UnitState, want: UnitState['want'] | undefined): UnitState {
  if (want === undefined) return state
  return wanting(state.asleep ? { ...state, asleep: false } : state, want)
}

function wanted(type: UnitEventType): 'up' | 'down' | undefined {
  if (type === 'wantDown') return 'down'
  return type === 'wantUp' || type === 'restart' || type === 'forceRestart' ? 'up' : undefined
}

/** The timer of a phase: what happens when it has lasted `ms`. Armed once on entering the phase. */
export function timerOf(state: UnitState, rules: StepRules): { type: UnitEventType; ms: number } | undefined {
  switch (state.phase) {
    case 'starting':
      return { type: 'startTimeout', ms: rules.startWithinMs }
    case 'up':
      return { type: 'stableTimer', ms: rules.restart.reset_after }
    case 'backoff':
      return { type: 'backoffTimer', ms: leftMs(state, rules) ?? 0 }
    case 'failed': {
      const ms = leftMs(state, rules)
      return ms === undefined ? undefined : { type: 'retryTimer', ms }
    }
    case 'down':
    case 'stopping':
    case 'completed':
      return undefined
  }
}

/** What is left of a wait: all of it on entering the phase, less after the node was started anew. */
function leftMs({ waitMs, untilMs }: UnitState, { nowMs }: StepRules): number | undefined {
  if (waitMs === undefined) return undefined
  return untilMs === undefined ? waitMs : Math.min(waitMs, Math.max(0, untilMs - nowMs))
}
