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
  if (order !== 0 || one.registrations === other.registrations || isSameBytes(one, other)) return order
  return compareText(JSON.stringify(one.registrations), JSON.stringify(other.registrations))
}

function isSameBytes({ signed: one }: Section, { signed: other }: Section): boolean {
  return one !== undefined && other !== undefined && Buffer.from(one.bytes).equals(other.bytes)
}

/** The registrations in a form in which equal content is equal text, in whatever order they are. */
export function canonical(registrations: readonly Registration[]): string {
  return registrations.map(textOf).sort(compareText).join('\n')
}

/** A registration in a form in which equal content is equal text. */
export function textOf(registration: Registration): string {
  const { unit, instance, replica, kind, state, ready, services, address, ports, schedule, tenure } = registration
  const { draining = false, onCall, canary, version } = registration
  const sorted = Object.entries(ports).sort(([one], [other]) => compareText(one, other))
  const { schedule: name, tickMs, by, active } = schedule ?? {}
  return JSON.stringify([
    ...[unit, instance, replica, kind, state, ready, services, address, sorted],
    ...(schedule === undefined ? [] : [name, tickMs, by, active]),
    ...(tenure === undefined ? [] : [tenure.stand, tenure.term]),
    ...(draining || onCall !== undefined ? [{ draining, holdMs: onCall?.holdMs, starts: onCall?.starts }] : []),
    ...(canary === undefined ? [] : [{ share: canary.share, headers: Object.entries(canary.headers).sort() }]),
    ...(version === undefined ? [] : [{ version }]),
  ])
}

/** What stays the same of a registration while it changes. */
export function keyOf({ unit, replica, instance }: Registration): string {
  return JSON.stringify([unit, replica, instance])
}

function compareText(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
