import { aborted, withSignal } from '../../base/abort.ts'
import { HsuError } from '../../base/error.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import { type RolloutPlan, type RolloutSeams, type RolloutSlot, rollOut } from '../rollout.ts'

/** A rollout that is to be made when its time comes: by then there may be other replicas. */
export interface PlannedRollout<Slot extends RolloutSlot> extends RolloutPlan<Slot> {
  readonly slots: () => readonly Slot[]
}

interface Rollout {
  readonly done: Promise<void>
  /** No process of it was started yet: what is asked for now comes about by it. */
  readonly isYoung: () => boolean
  readonly life: AbortController
}

export interface RollingSeams extends RolloutSeams {
  readonly tasks: Pick<TaskGroup, 'run' | 'signal'>
}

/** The rollouts of one unit: one at a time, and at most one that waits for it, which all join who come meanwhile. */
export class Rolling<Slot extends RolloutSlot> {
  readonly #seams: RollingSeams
  #current: Rollout | undefined
  #next: Promise<void> | undefined

  constructor(seams: RollingSeams) {
    this.#seams = seams
  }

  /** Resolves when it is done. It goes on though who waits turns away. @throws as `rollOut`, HsuError `CANCELLED`, the signal's reason */
  async run(plan: PlannedRollout<Slot>, signal: AbortSignal): Promise<void> {
    const rolled = this.#join(plan)
    rolled.catch(() => undefined)
    await withSignal(signal, (inner) => Promise.race([rolled, aborted(inner)]))
    signal.throwIfAborted()
  }

  /** Makes no further turn, because of what is done to the unit instead. */
  giveUp(why: string): void {
    this.#current?.life.abort(new HsuError('CANCELLED', `the rolling restart was given up: ${why}`))
  }

  #join(plan: PlannedRollout<Slot>): Promise<void> {
    const current = this.#current
    if (current === undefined) return this.#begin(plan)
    if (current.isYoung()) return current.done
    this.#next ??= current.done
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined
        return this.#begin(plan)
      })
    return this.#next
  }

  #begin(plan: PlannedRollout<Slot>): Promise<void> {
    const { tasks } = this.#seams
    const life = new AbortController()
    const slots = plan.slots()
    const before = slots.map(({ status }) => status.instance)
    const isYoung = (): boolean => slots.every(({ status }, index) => status.instance === before[index])
    const done = withSignal(tasks.signal, (outer) => {
      const end = (): void => life.abort(outer.reason)
      if (outer.aborted) end()
      outer.addEventListener('abort', end, { once: true })
      return rollOut(slots, plan, this.#seams, life.signal)
    })
    const rollout: Rollout = { done, isYoung, life }
    this.#current = rollout
    // At the end of the supervisor it is waited for.
    tasks.run(() =>
      done
        .catch(() => undefined)
        .finally(() => {
          if (this.#current === rollout) this.#current = undefined
        }),
    )
    return done
  }
}
