import { createTopic } from '../base/topic.ts'
import type { Registration } from '../mesh/index.ts'
import { type AwaitedSlot, type Elsewhere, isRunBeside } from '../process/index.ts'
import { isReachable, type WorldView } from './world-view.ts'

type World = Pick<WorldView, 'members' | 'registrationsOf' | 'changes'>

/** The units of other nodes as the supervisor asks for them, from what those nodes have registered. */
export function slotsElsewhere(world: World): Elsewhere {
  const changes = createTopic<undefined>()
  let byUnit: ReadonlyMap<string, readonly AwaitedSlot[]> | undefined
  world.changes.subscribe(() => {
    byUnit = undefined
    changes.publish(undefined)
  })
  return {
    slotsOf(unit) {
      byUnit ??= indexOf(world)
      return byUnit.get(unit) ?? []
    },
    changes,
  }
}

function indexOf(world: World): ReadonlyMap<string, readonly AwaitedSlot[]> {
  const byUnit = new Map<string, AwaitedSlot[]>()
  for (const member of world.members()) {
    if (member.self || !isReachable(member)) continue
    const { nodeId, record } = member
    for (const registration of world.registrationsOf(nodeId)) {
      if (isRunBeside(registration.replica)) continue
      const slots = byUnit.get(registration.unit) ?? []
      byUnit.set(registration.unit, slots)
      slots.push(toSlot(registration, nodeId, record?.name ?? nodeId))
    }
  }
  return byUnit
}

function toSlot({ instance, state, ready }: Registration, nodeId: string, node: string): AwaitedSlot {
  return {
    instance: `${nodeId}/${instance}`,
    state,
    ready,
    isRunning: state === 'starting' || state === 'up',
    isUnasked: false,
    text: `${state} on ${node}`,
  }
}
