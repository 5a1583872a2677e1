import { formatDurationMs } from '../base/quantity.ts'
import { crashed, retreat } from './crash.ts'
import { describeExit, isSuccess } from './exit.ts'
import {
  NO_WAIT,
  type Step,
  type StepRules,
  STOPPED,
  type UnitEffect,
  type UnitEvent,
  type UnitEventType,
  type UnitPhase,
  type UnitState,
} from './unit-state.ts'

type Cell = (state: UnitState, event: UnitEvent, rules: StepRules) => Step

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
  if (event.overuse === 'killed') return still(crashed({ ...seen, overuse: true }, event.reason, rules))
  if (!isSuccess(event.exit, rules.restart.success) || state.fault !== '')
    return still(crashed(seen, state.fault || describeExit(event.exit), rules))
  const { policy } = rules.restart
  if (policy === 'no' || policy === 'on-failure') return go('completed')(seen, { ...event, reason: '' }, rules)
  return still(retreat({ ...seen, streak: state.streak + 1 }, describeExit(event.exit), rules))
}

/** Nothing was started, so the unit is failed at once and shown so; unless its policy is `no`, it is tried again as after a crash. */
const unspawnable: Cell = (state, event, rules) => still({ ...crashed(state, event.reason, rules), phase: 'failed' })

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
    return (state.held ? TABLE[fallen.phase].hold?.(fallen, heldBack, rules) : undefined) ?? still(fallen)
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
