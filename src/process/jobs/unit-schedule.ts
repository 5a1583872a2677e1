import { HsuError } from '../../base/error.ts'
import type { Tell } from '../causes.ts'
import type { ScheduleTerms } from '../config/schedule.ts'
import { runMissed, runSkipped } from './run-news.ts'
import type { UnitRuns } from './run-record.ts'
import { handledAfter } from './ticks.ts'
import { scheduleKey, Ticker, type TickerSeams } from './ticker.ts'

export interface ScheduleSeams extends TickerSeams {
  readonly publish: Tell
}

/** What is written down of a schedule. */
export type ScheduleRecord = Pick<UnitRuns, 'schedule' | 'handledMs'>

export interface ScheduleHooks {
  /** Begins the run for a moment. @throws HsuError why it is left out */
  run(tickMs: number): Promise<unknown>
  /** Writes down how far the moments are dealt with. */
  save(): Promise<void>
  /** The next moment has become another. */
  changed(): void
}

/** The schedule of a unit: a run for each of its moments, and up to which they are dealt with. */
export class UnitSchedule {
  readonly #seams: ScheduleSeams
  readonly #unit: string
  readonly #hooks: ScheduleHooks
  #ticker: Ticker | undefined
  #handledMs = 0

  constructor(seams: ScheduleSeams, unit: string, hooks: ScheduleHooks) {
    this.#seams = seams
    this.#unit = unit
    this.#hooks = hooks
  }

  /** The next moment, wall clock; undefined without a schedule. */
  get nextMs(): number | undefined {
    return this.#ticker?.nextMs
  }

  get record(): ScheduleRecord {
    return { schedule: this.#ticker?.key ?? '', handledMs: this.#handledMs }
  }

  /** The runs of other nodes that count beside those of this one: where nodes share the schedule. */
  get busyElsewhere(): number {
    const ticker = this.#ticker
    return ticker?.terms.scope === 'mesh' ? this.#seams.mesh.look(this.#unit, ticker.key).busyElsewhere : 0
  }

  /**
   * Watches these terms from now on, in place of those before; nothing when there are none.
   *
   * @param known what was written down last
   * @param goesOn the schedule was watched until a moment ago
   */
  watch(terms: ScheduleTerms | undefined, known: ScheduleRecord | undefined, goesOn: boolean): void {
    this.stop()
    this.#ticker = undefined
    if (terms === undefined) return
    const knownMs = known?.schedule === scheduleKey(terms) ? known.handledMs : undefined
    this.#handledMs = knownMs ?? this.#seams.clock.wallMs()
    const { publish } = this.#seams
    this.#ticker = new Ticker(
      this.#seams,
      { unit: this.#unit, terms, knownMs, goesOn },
      {
        missed: (count, madeUpFor) => void publish(runMissed(this.#unit, count, madeUpFor)),
        handled: (tickMs) => void this.#handled(tickMs),
        fire: (tickMs) => this.#fire(tickMs),
        changed: () => this.#hooks.changed(),
      },
    )
    void this.#hooks.save()
    this.#ticker.begin()
  }

  /** A run has begun for this moment, which is dealt with then. Whoever began it writes that down. */
  begun(tickMs: number, startedAtMs: number): void {
    this.#handledMs = handledAfter(this.#handledMs, tickMs, startedAtMs)
  }

  stop(): void {
    this.#ticker?.stop()
  }

  async #fire(tickMs: number): Promise<void> {
    try {
      await this.#hooks.run(tickMs)
    } catch (thrown) {
      const { reason, message } = HsuError.from(thrown)
      if (reason === 'INTERNAL') throw thrown
      if (reason === 'NODE_DRAINING') return
      this.#seams.publish(runSkipped(this.#unit, tickMs, message))
      await this.#handled(tickMs)
    }
  }

  async #handled(tickMs: number): Promise<void> {
    this.begun(tickMs, this.#seams.clock.wallMs())
    await this.#hooks.save()
  }
}
