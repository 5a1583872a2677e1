import type { Clock } from '../base/clock.ts'
import { TIMED_OUT, within } from '../base/clock.ts'
import { withSignal } from '../base/abort.ts'
import { HsuError } from '../base/error.ts'
import { formatDurationMs } from '../base/quantity.ts'
import type { Origin, Tell } from './causes.ts'
import type { InstanceStatus } from './status.ts'

/** A replica whose process is to be replaced by another. */
export interface RolloutSlot {
  readonly replica: number
  readonly status: InstanceStatus
  /** It is being ended for good. */
  readonly isClosing: boolean
  /** Resolves once its next process serves, with '', or does not and will not soon, with why. @throws the signal's reason */
  untilServing(signal: AbortSignal): Promise<string>
}

/** What a rollout does to the replicas of a unit. */
export interface RolloutPlan<Slot extends RolloutSlot> {
  readonly unit: string
  /** In words: `restart`, `its configuration changed`. */
  readonly reason: string
  readonly origin: Origin
  /** Whether its turn is still needed when it comes. */
  readonly isDue: (slot: Slot) => boolean
  /** Begins to replace its process. @throws HsuError when the new one cannot be started */
  readonly replace: (slot: Slot, origin: Origin, signal: AbortSignal) => void | Promise<void>
  /** The longest that one turn may take. */
  readonly turnMs: number
}

export interface RolloutSeams {
  readonly clock: Clock
  readonly tell: Tell
  /** Resolves when callers know of an instance that is ready, or after a bounded while. */
  readonly announced: (instance: InstanceStatus, signal: AbortSignal) => Promise<void>
}

/** The order of turns: first those that serve nobody, which costs no caller anything. */
function turns<Slot extends RolloutSlot>(slots: readonly Slot[]): readonly Slot[] {
  return [...slots.filter(({ status }) => !status.ready), ...slots.filter(({ status }) => status.ready)]
}

/** Whether replacing all at once would leave callers without any replica, and doing it in turns would not. */
export function isWorthwhile(all: readonly RolloutSlot[], due: readonly RolloutSlot[]): boolean {
  return due.length > 0 && all.length > 1 && all.some(({ status }) => status.ready)
}

/**
 * Replaces the processes of replicas one after the other: each turn begins when the one before serves and callers know it. Stops at
 * the first that does not serve, so that the others go on with what they are.
 *
 * @throws HsuError `UNIT_FAILED` naming the replica and why, `TIMED_OUT`, the signal's reason
 */
export async function rollOut<Slot extends RolloutSlot>(
  slots: readonly Slot[],
  plan: RolloutPlan<Slot>,
  seams: RolloutSeams,
  signal: AbortSignal,
): Promise<void> {
  const { unit, isDue, turnMs } = plan
  const order = turns(slots)
  let { causedBy } = plan.origin
  for (const [index, slot] of order.entries()) {
    signal.throwIfAborted()
    if (slot.isClosing || !isDue(slot)) continue
    const turn = `turn ${index + 1} of ${order.length}: replica ${slot.replica}`
    const details = { replica: String(slot.replica), turn: String(index + 1), turns: String(order.length) }
    const about = { unit, instance: slot.status.instance, cause: '', details }
    causedBy = seams.tell({ ...about, type: 'unit.rolling', reason: `${plan.reason}, ${turn}`, causedBy })
    const origin = { causedBy }
    const served = await withSignal(signal, (inner) => within(seams.clock, turnMs, take(slot, plan, origin, inner)))
    signal.throwIfAborted()
    if (served !== '') {
      const why = served === TIMED_OUT ? `it is not ready after ${formatDurationMs(turnMs)}` : served
      const left = order.slice(index + 1).filter(isDue)
      const reason = `stopped at ${turn}: ${why}; ${untouched(left)}`
      seams.tell({ ...about, type: 'unit.rolling_stopped', reason, causedBy: slot.status.eventId })
      const message = `the rolling restart of unit '${unit}' ${reason}`
      throw new HsuError(served === TIMED_OUT ? 'TIMED_OUT' : 'UNIT_FAILED', message, { details: { unit, ...details } })
    }
    causedBy = slot.status.eventId
    await seams.announced(slot.status, signal)
  }
}

/** Replaces the process of one. '' once the next one serves, else why it does not. @throws the signal's reason */
async function take<Slot extends RolloutSlot>(
  slot: Slot,
  { replace }: RolloutPlan<Slot>,
  origin: Origin,
  signal: AbortSignal,
): Promise<string> {
  try {
    await replace(slot, origin, signal)
  } catch (error) {
    if (signal.aborted || !(error instanceof HsuError)) throw error
    return error.message
  }
  return slot.untilServing(signal)
}

function untouched(left: readonly RolloutSlot[]): string {
  if (left.length === 0) return 'no other was to follow'
  const names = left.map(({ replica }) => replica).join(', ')
  return `left as ${left.length === 1 ? 'it was: replica' : 'they were: replicas'} ${names}`
}
