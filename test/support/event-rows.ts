import type { EventShape } from '../../src/cli/shapes.ts'
import type { SpawnedNode } from './spawned-node.ts'

/** What `hsu events -o json` prints of one event. */
export type EventRow = EventShape & { readonly time: string }

/** What is kept of a unit, oldest first. */
export async function eventsOf(node: SpawnedNode, ...args: string[]): Promise<readonly EventRow[]> {
  const { code, stdout, stderr } = await node.hsu('events', ...args, '-o', 'json')
  if (code !== 0) throw new Error(`hsu events ${args.join(' ')} ended with ${code}: ${stderr}`)
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as EventRow)
}

/** The first cause of an event, as far back as `events` go. */
export function whatLedTo(event: EventRow, events: readonly EventRow[]): EventRow {
  const before = events.find(({ id, node }) => node === event.node && id === event.causedBy)
  return before === undefined ? event : whatLedTo(before, events)
}
