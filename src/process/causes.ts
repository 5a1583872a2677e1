import type { ProcessEvent } from './status.ts'

/** Why something is done to a unit: the event that led to it. */
export interface Origin {
  /** Id of an event; '' when there is none. */
  readonly causedBy: string
}

/** Who asks for something to be done, for the account of what happened. */
export interface Asker {
  /** In words, such as `anna (uid 1000) from the command line`; '' when it is no person. */
  readonly actor: string
  /** Id of the event that made them ask, if one did. */
  readonly causedBy?: string
}

/** An event as whoever met it tells it; its id and time are given when it is written down. */
export type NewEvent = Pick<ProcessEvent, 'unit' | 'instance' | 'type' | 'reason' | 'details' | 'cause'> &
  Partial<Pick<ProcessEvent, 'causedBy' | 'actor'>>

/** Writes an event down and returns its id, by which later events name it as their cause. */
export type Tell = (event: NewEvent) => string

/** Gives each event a number; the node has one whose ids go on over its restarts. */
export function countingIds(): () => string {
  let count = 0
  return () => `0-${(count += 1)}`
}

/** What people may ask of a unit; the `operation` of `unit.requested`. */
export type Operation = 'start' | 'run' | 'stop' | 'restart' | 'forced restart' | 'kill' | 'signal' | 'scale' | 'wake'

/** The event that somebody asked for something. */
export function requested(unit: string, operation: Operation, asker: Asker, what: string = operation): NewEvent {
  const { actor, causedBy = '' } = asker
  const by = actor === '' ? '' : ` by ${actor}`
  const reason = `${what} asked for${by}`
  return { unit, instance: '', type: 'unit.requested', reason, details: { operation }, cause: '', causedBy, actor }
}
