import type { MemberView, Registration } from '../../mesh/index.ts'
import { isReachable, type WorldView } from '../world-view.ts'
import type { Said, Sighting } from './memory.ts'
import { standFrom } from './tenure.ts'

const BUSY = new Set(['starting', 'up', 'stopping'])

/** Whether a slot in this state has processes, or is about to. */
export function isBusy(state: string): boolean {
  return BUSY.has(state)
}

/** The other members, and what they say of units that only one node runs. */
export function sightingsOf(world: Pick<WorldView, 'members' | 'sectionOf'>): readonly Sighting[] {
  return world
    .members()
    .filter(({ self }) => !self)
    .map((member) => {
      const { nodeId, record } = member
      const section = isReachable(member) ? world.sectionOf(nodeId) : undefined
      return { nodeId, name: record?.name ?? nodeId, presence: presenceOf(member), says: section && said(section) }
    })
}

function presenceOf(member: MemberView): Sighting['presence'] {
  if (isReachable(member)) return 'present'
  return member.status === 'dead' ? 'missing' : 'gone'
}

function said(section: readonly Registration[]): ReadonlyMap<string, Said> {
  const says = new Map<string, Said>()
  for (const { unit, tenure, state } of section) {
    if (tenure === undefined) continue
    const hasProcess = isBusy(state) || says.get(unit)?.hasProcess === true
    says.set(unit, { stand: standFrom(tenure.stand), term: tenure.term, hasProcess })
  }
  return says
}
