import type { NodeEvent } from './event.ts'
import type { Tools } from './parts.ts'

/** An event about the mesh, as this node sees it. */
export function meshEvent(
  { events }: Pick<Tools, 'events'>,
  wallMs: number,
  about: Pick<NodeEvent, 'type' | 'reason' | 'details' | 'node'>,
): NodeEvent {
  return { id: events.nextId(), wallMs, unit: '', instance: '', cause: '', causedBy: '', actor: '', ...about }
}
