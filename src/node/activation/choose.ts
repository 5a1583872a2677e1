import { createHash } from 'node:crypto'
import type { MemberView, Registration } from '../../mesh/index.ts'

/** How far a unit is on one node: nearer to taking calls first. `off` = a call does not start it there. */
export type Readiness = 'ready' | 'waking' | 'asleep' | 'draining' | 'off'

const ORDER: readonly Readiness[] = ['ready', 'waking', 'asleep', 'draining', 'off']

/** A node that has a unit which is started by calls. */
export interface Candidate {
  readonly nodeId: string
  readonly node: string
  readonly readiness: Readiness
  /** Instances of any unit that run there. */
  readonly running: number
}

/** The nodes that have the unit and start it when it is called; those that are suspect only when no other has it. */
export function candidatesFor(
  unit: string,
  members: readonly MemberView[],
  registrationsOf: (nodeId: string) => readonly Registration[],
): readonly Candidate[] {
  const of = (status: MemberView['status']): Candidate[] =>
    members
      .filter((member) => member.status === status)
      .flatMap(({ nodeId, record }) => {
        const registrations = registrationsOf(nodeId)
        const slots = registrations.filter((each) => each.unit === unit && each.onCall !== undefined)
        if (slots.length === 0) return []
        const running = registrations.filter(({ state }) => state === 'up' || state === 'starting').length
        return [{ nodeId, node: record?.name ?? nodeId, readiness: readinessOf(slots), running }]
      })
  const alive = of('alive')
  return alive.length > 0 ? alive : of('suspect')
}

function readinessOf(slots: readonly Registration[]): Readiness {
  const each = slots.map(slotReadiness)
  return ORDER.find((readiness) => each.includes(readiness)) ?? 'off'
}

function slotReadiness({ ready, state, draining = false }: Registration): Readiness {
  if (ready) return 'ready'
  if (state === 'stopping' || draining) return 'draining'
  if (state === 'starting' || state === 'up') return 'waking'
  return state === 'asleep' || state === 'completed' ? 'asleep' : 'off'
}

/**
 * The nodes in the order in which they are asked to decide where the unit is woken. The same everywhere, and another one
 * for each unit: by rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 1998).
 */
export function deciders(unit: string, nodeIds: readonly string[]): readonly string[] {
  return [...nodeIds].sort((one, other) => compare(weight(unit, one), weight(unit, other)))
}

/** The nodes in the order in which the one that decides tries them: where the unit is nearest to calls, then where least runs. */
export function byMerit(unit: string, candidates: readonly Candidate[]): readonly Candidate[] {
  const order = new Map(
    deciders(
      unit,
      candidates.map(({ nodeId }) => nodeId),
    ).map((nodeId, index) => [nodeId, index]),
  )
  const rank = ({ readiness }: Candidate): number => ORDER.indexOf(readiness)
  return [...candidates].sort(
    (one, other) =>
      rank(one) - rank(other) ||
      one.running - other.running ||
      (order.get(one.nodeId) ?? 0) - (order.get(other.nodeId) ?? 0),
  )
}

function weight(unit: string, nodeId: string): string {
  return createHash('sha256').update(`${unit}\n${nodeId}`).digest('hex')
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
