import type { Log } from '../base/log.ts'
import type { Mesh, Registration } from '../mesh/index.ts'
import { meshEvent } from './mesh-event.ts'
import type { Parts, Tools } from './parts.ts'
import type { NodeSetup } from './node-setup.ts'
import type { Outside } from './outside.ts'

/** Who is told when something changes. */
export function connectParts({ clock, log }: Outside, setup: NodeSetup, { events }: Tools, parts: Parts): void {
  const { mesh, offers, supervisor, world, claims, partition, direct } = parts
  claims?.begin()
  const node = setup.name
  const publish = publisher(log)
  world.changes.subscribe(() => direct.refresh())
  offers.changes.subscribe(() => {
    const joined = mesh.current()
    if (joined !== undefined) publish(joined, offers.registrations())
    world.refresh()
  })
  supervisor.events.subscribe((event) => events.append({ ...event, node }))
  mesh.opened.subscribe((opened) => {
    publish(opened, offers.registrations())
    opened.changes.subscribe(() => world.refresh())
    opened.events.subscribe(({ type, nodeId, name, reason, cause }) => {
      if (type === 'member.removed') parts.linkServer?.cut(nodeId)
      const details = { nodeId, name }
      const said = saidBy(cause, nodeId, opened)
      const event = { ...meshEvent({ events }, clock.wallMs(), { type, reason, details, node }), cause: said }
      events.append(event)
      partition?.heard(nodeId, event.id)
    })
  })
}

/** Who told it, for people; '' when that is the member itself or this node. */
function saidBy(by: string, about: string, mesh: Mesh): string {
  if (by === '' || by === about) return ''
  const member = mesh.members().find(({ nodeId }) => nodeId === by)
  return member?.self === true ? '' : `said by ${member?.record?.name ?? by}`
}

/** What cannot be published (too many instances, say) is said once; the others keep what they last heard. */
function publisher(log: Log): (mesh: Mesh, registrations: readonly Registration[]) => void {
  let refused = false
  return (mesh, registrations) => {
    try {
      mesh.publish(registrations)
      refused = false
    } catch (error) {
      if (!refused) log.error('other nodes cannot be told what runs here', { error })
      refused = true
    }
  }
}
