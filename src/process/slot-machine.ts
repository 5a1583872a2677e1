import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from './causes.ts'
import type { UnitSpec } from './launch.ts'
import { createTrail, type Trail } from './trail.ts'
import { newsOf } from './unit-news.ts'
import {
  INITIAL_STATE,
  type StepRules,
  type UnitEffect,
  type UnitEvent,
  type UnitEventType,
  type UnitState,
} from './unit-state.ts'
import { step, timerOf } from './unit-table.ts'

export interface MachineSeams {
  readonly clock: Clock
  readonly random: Random
  readonly publish: Tell
}

export interface MachineHooks {
  /** The present description of the unit. */
  readonly spec: () => UnitSpec
  /** The instance that the news is about; '' before the first. */
  readonly instance: () => string
  /** Why its start is not done yet; '' or undefined when nobody knows. */
  readonly doubt: () => string | undefined
  /** Its process is there. Until then it may wait for its turn to be started. */
  readonly isThere: () => boolean
  readonly perform: (effect: UnitEffect) => void
  /** The state is another now. */
  readonly changed: () => void
}

/** The lifecycle of one slot: takes events to the table one at a time, tells the news, arms the timer of each phase. */
export class SlotMachine {
  readonly trail: Trail
  readonly #seams: MachineSeams
  readonly #hooks: MachineHooks
  readonly #queue: UnitEvent[] = []
  #state: UnitState = INITIAL_STATE
  #stepping = false
  #timer: AbortController | undefined

  constructor(unit: string, seams: MachineSeams, hooks: MachineHooks) {
    this.#seams = seams
    this.#hooks = hooks
    this.trail = createTrail(unit, '', seams.publish)
  }

  get state(): UnitState {
    return this.#state
  }

  /** When the present wait is over, wall clock; undefined when there is none, or no end of it. */
  get retryAtMs(): number | undefined {
    const { untilMs } = this.#state
    const { clock } = this.#seams
    return untilMs === undefined ? undefined : Math.round(clock.wallMs() + untilMs - clock.nowMs())
  }

  /** Goes on from a state that an earlier node left, without doing anything yet. */
  resume(state: UnitState): void {
    this.#state = state
  }

  /** An event of an event waits for its turn. */
  dispatch(type: UnitEventType, reason = '', more: Partial<UnitEvent> = {}): void {
    this.#queue.push({ exit: undefined, ...more, type, reason })
    if (this.#stepping) return
    this.#stepping = true
    try {
      for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) this.#apply(event)
    } finally {
      this.#stepping = false
    }
  }

  armTimer(): void {
    this.#timer?.abort()
    const timer = timerOf(this.#state, this.#rules())
    if (timer === undefined) return
    const abort = new AbortController()
    this.#timer = abort
    const ring = (): void => {
      if (timer.type !== 'startTimeout') this.dispatch(timer.type)
      // The time to become ready is that of its process.
      else if (this.#hooks.isThere()) this.dispatch(timer.type, this.#hooks.doubt())
    }
    if (timer.ms === 0) ring()
    else void this.#seams.clock.sleep(timer.ms, abort.signal).then(ring, () => undefined)
  }

  /** No timer rings any more. */
  disarm(): void {
    this.#timer?.abort()
  }

  #apply(event: UnitEvent): void {
    const before = this.#state
    const { state, effects } = step(before, event, this.#rules())
    this.#state = state
    if (state.phase !== before.phase || state.generation !== before.generation) this.armTimer()
    if (state !== before) this.trail.follow(event.causedBy ?? '')
    const { windowMs } = this.#hooks.spec().config.restart.give_up
    for (const news of newsOf(before, state, event, windowMs)) this.trail.tell(news, this.#hooks.instance())
    for (const effect of effects) this.#hooks.perform(effect)
    if (state !== before) this.#hooks.changed()
  }

  #rules(): StepRules {
    const { clock, random } = this.#seams
    const { restart, probes } = this.#hooks.spec().config
    return { restart, startWithinMs: probes.start.within, nowMs: clock.nowMs(), random }
  }
}
