import type { Clock } from '../../base/clock.ts'
import { below, type Random } from '../../base/random.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { ScheduleTerms } from '../config/schedule.ts'
import { type Cadence, readCadence } from './cadence.ts'
import type { ScheduleMesh } from './schedule-mesh.ts'
import { planTicks, type TickPlan } from './ticks.ts'
import { prevails, turnOf } from './turn.ts'

/** The wall clock is looked at again after this, because it may be set, or the host may sleep. */
const LOOK_MS = 15_000

/** How often a node that waits for its turn looks whether somebody else took it. */
const TURN_MS = 250

export interface TickerSeams {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: ScheduleMesh
  readonly tasks: Pick<TaskGroup, 'run'>
}

export interface Watch {
  readonly unit: string
  readonly terms: ScheduleTerms
  /** Moments up to this one are dealt with; undefined for a schedule that is new here, of which none was missed. */
  readonly knownMs: number | undefined
  /** Somebody watched until a moment ago: what came since then is late, not missed. */
  readonly goesOn: boolean
}

export interface TickerHooks {
  /** Moments passed while nobody was there. */
  missed(count: number, madeUpFor: boolean): void
  /** Moments up to this one are dealt with, without a run of this node. */
  handled(tickMs: number): void
  /** Runs the unit for this moment. */
  fire(tickMs: number): Promise<void>
  /** The next moment has become another. */
  changed(): void
}

/** Equal for two nodes that mean the same moments. */
export function scheduleKey({ cron, timezone }: ScheduleTerms): string {
  return `${cron.trim().replace(/\s+/g, ' ')} ${timezone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone}`
}

/** Watches the wall clock for one schedule, and calls a run for each of its moments. */
export class Ticker {
  readonly terms: ScheduleTerms
  readonly key: string
  readonly #unit: string
  readonly #seams: TickerSeams
  readonly #hooks: TickerHooks
  readonly #end = new AbortController()
  readonly #knownMs: number | undefined
  readonly #goesOn: boolean
  #handledMs: number
  #nextMs: number | undefined

  constructor(seams: TickerSeams, { unit, terms, knownMs, goesOn }: Watch, hooks: TickerHooks) {
    this.terms = terms
    this.key = scheduleKey(terms)
    this.#unit = unit
    this.#seams = seams
    this.#hooks = hooks
    this.#knownMs = knownMs
    this.#goesOn = goesOn
    this.#handledMs = knownMs ?? seams.clock.wallMs()
  }

  /** When it runs next, wall clock; undefined when never, or not known yet. */
  get nextMs(): number | undefined {
    return this.#nextMs
  }

  begin(): void {
    if (this.#isShared) this.#seams.mesh.announce(this.#unit, this.key, this.#knownMs ?? 0)
    this.#seams.tasks.run((signal) => this.#watch(signal))
  }

  stop(): void {
    this.#end.abort()
    if (this.#isShared) this.#seams.mesh.withdraw(this.#unit)
  }

  get #isShared(): boolean {
    return this.terms.scope === 'mesh'
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock } = this.#seams
    const stop = (): void => this.#end.abort()
    signal.addEventListener('abort', stop, { once: true })
    const { cron, timezone, missed } = this.terms
    const cadence: Cadence = await readCadence(cron, timezone)
    let sinceMs = this.#goesOn ? this.#handledMs : clock.wallMs()
    while (!this.#end.signal.aborted) {
      const nowMs = clock.wallMs()
      // The clock may be set back.
      sinceMs = Math.min(sinceMs, nowMs)
      const plan = planTicks({ cadence, handledMs: this.#handledMs, sinceMs, nowMs, missed })
      this.#take(plan, nowMs)
      if (plan.nextMs === undefined) break
      await clock.sleep(Math.min(plan.nextMs - nowMs, LOOK_MS), this.#end.signal).catch(() => undefined)
    }
    signal.removeEventListener('abort', stop)
  }

  #take({ due, missed, handledMs, nextMs }: TickPlan, noticedMs: number): void {
    const isNew = nextMs !== this.#nextMs
    this.#nextMs = nextMs
    this.#handledMs = handledMs
    if (isNew) this.#hooks.changed()
    if (missed > 0) this.#hooks.missed(missed, due !== undefined)
    if (due !== undefined) this.#seams.tasks.run(() => this.#fire(due, noticedMs))
    else if (missed > 0) this.#hooks.handled(handledMs)
  }

  async #fire(tickMs: number, noticedMs: number): Promise<void> {
    const { clock, random } = this.#seams
    const { signal } = this.#end
    try {
      if (this.#isShared && !(await this.#isOurs(tickMs, noticedMs))) {
        this.#hooks.handled(tickMs)
        return
      }
      const delayMs = below(this.terms.jitter + 1, random)
      if (delayMs > 0) await clock.sleep(delayMs, signal)
      await this.#hooks.fire(tickMs)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** Waits for our turn among the nodes that have the schedule. @throws the signal's reason */
  async #isOurs(tickMs: number, noticedMs: number): Promise<boolean> {
    const { clock, mesh } = this.#seams
    const [unit, key, { signal }] = [this.#unit, this.key, this.#end]
    for (;;) {
      const turn = turnOf(unit, { tickMs, noticedMs, nowMs: clock.wallMs() }, mesh.look(unit, key))
      if (turn === 'taken') return false
      if (turn === 'take') break
      await clock.sleep(Math.min(turn, TURN_MS), signal)
    }
    await mesh.claim(unit, key, tickMs)
    return prevails(unit, tickMs, mesh.look(unit, key))
  }
}
