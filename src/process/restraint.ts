import { createTopic, type Topic } from '../base/topic.ts'
import type { Origin, Tell } from './causes.ts'

/** Why a unit that is wanted is not to run on this node, for a reason outside it. It is no failure of the unit. */
export interface Restraint {
  /** In words: `runs on edge-a`. */
  readonly reason: string
}

/** That a unit is held back, or no longer. */
export interface RestraintChange {
  readonly unit: string
  /** What held it back before. */
  readonly before: Restraint | undefined
  /** What holds it back from now on. */
  readonly now: Restraint | undefined
  /** In words why it is so; for a unit that is held back, as `now.reason`. */
  readonly reason: string
  readonly details: Readonly<Record<string, string>>
  /** Id of the event that led to it; '' when none did. */
  readonly causedBy: string
}

/** Who may hold units back, as a supervisor asks. */
export interface Restraints {
  of(unit: string): Restraint | undefined
  /** A person wants the unit to run here: whatever holds it back gives way. */
  overrule(unit: string): void
  readonly changes: Topic<RestraintChange>
  /** The units begin. */
  open(): void
  /** The node ends, or hands its units over: from now on nothing is held back and nothing let go. */
  close(): void
}

/** For a node that nothing holds back. */
export function noRestraints(): Restraints {
  const nothing = (): undefined => undefined
  return { of: nothing, overrule: nothing, changes: createTopic(), open: nothing, close: nothing }
}

/** What is done to a slot that is held back, and to one that is not any more. */
interface RestrainedSlot {
  hold(reason: string, origin: Origin): void
  reconsider(origin?: Origin): void
}

export interface RestraintSeams {
  readonly restraints: Restraints
  readonly tell: Tell
  /** The slots of a unit that are kept running; none when there is no such unit, or nothing is to be begun. */
  readonly slotsOf: (unit: string) => readonly RestrainedSlot[]
}

/** Stops units that come to be held back and lets them go on after that; each is told as an event. */
export function followRestraints({ restraints, tell, slotsOf }: RestraintSeams): void {
  restraints.changes.subscribe(({ unit, before, now, reason, details, causedBy }) => {
    const slots = slotsOf(unit)
    if (slots.length === 0) return
    if (before !== undefined && now !== undefined) {
      for (const slot of slots) slot.reconsider({ causedBy })
      return
    }
    const type = now === undefined ? 'unit.released' : 'unit.held'
    const origin = { causedBy: tell({ type, unit, instance: '', reason, details, cause: '', causedBy }) }
    for (const slot of slots) {
      if (now === undefined) slot.reconsider(origin)
      else slot.hold(`held back: ${now.reason}`, origin)
    }
  })
}
