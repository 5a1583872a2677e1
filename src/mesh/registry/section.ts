import type { Registration, Section } from '../member.ts'

/**
 * Returns whichever section of one owner is newer, by incarnation, then by version. Commutative, associative and
 * idempotent; returns `known` itself when nothing is learnt. Equal numbers with different content cannot come from one
 * honest owner; then the greater content wins, so that views converge even so.
 */
export function mergeSection(known: Section, heard: Section): Section {
  return compareSections(heard, known) > 0 ? heard : known
}

function compareSections(one: Section, other: Section): number {
  const order = one.incarnation - other.incarnation || one.version - other.version
  if (order !== 0 || one.registrations === other.registrations) return order
  return compareText(JSON.stringify(one.registrations), JSON.stringify(other.registrations))
}

/** The registrations in a form in which equal content is equal text: sorted by unit, replica and instance. */
export function canonical(registrations: readonly Registration[]): string {
  return JSON.stringify(registrations.map(toRow).sort((one, other) => compareText(one.key, other.key)))
}

function toRow(registration: Registration): { key: string; value: unknown } {
  const { unit, instance, replica, kind, state, ready, services, address, ports, schedule } = registration
  const sorted = Object.entries(ports).sort(([one], [other]) => compareText(one, other))
  const value = [unit, instance, replica, kind, state, ready, services, address, sorted, claimRow(schedule)]
  return { key: JSON.stringify(value), value }
}

function claimRow(claim: Registration['schedule']): readonly unknown[] {
  return claim === undefined ? [] : [claim.schedule, claim.tickMs, claim.by, claim.active]
}

function compareText(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
