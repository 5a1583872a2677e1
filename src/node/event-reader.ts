import type { EventDisk } from './event-disk.ts'
import { compareIds } from './event-ids.ts'
import { eventOf, findLine, linesOf } from './event-lines.ts'
import type { NodeEvent } from './event.ts'

/** What of the past is read from disk. */
export interface PastQuery {
  readonly matches: (event: NodeEvent) => boolean
  readonly sinceMs: number | undefined
  /** Only events before this one; the later are in memory. */
  readonly beforeId: string
}

/** Reads kept events, oldest first. Holds one file at a time. */
export async function* readPast(disk: EventDisk, query: PastQuery): AsyncGenerator<NodeEvent> {
  for (const { id } of await segmentsFor(disk, query)) yield* select(await disk.read(id), query)
}

/** The last `count` matching events, oldest first. Reads files from the newest on, no more than it needs. */
export async function readLast(disk: EventDisk, query: PastQuery, count: number): Promise<readonly NodeEvent[]> {
  let found: NodeEvent[] = []
  if (count === 0) return found
  for (const { id } of [...(await segmentsFor(disk, query))].reverse()) {
    found = [...select(await disk.read(id), query), ...found].slice(-count)
    if (found.length === count) break
  }
  return found
}

/** The event of this id; undefined when it is not, or no longer, on disk. */
export async function findPast(disk: EventDisk, id: string): Promise<NodeEvent | undefined> {
  const segment = (await disk.list()).findLast((each) => compareIds(each.id, id) <= 0)
  return segment && findLine(await disk.read(segment.id), id)
}

async function segmentsFor(disk: EventDisk, { sinceMs = -Infinity, beforeId }: PastQuery) {
  const segments = await disk.list()
  return segments.filter(({ id, modifiedMs }) => modifiedMs >= sinceMs && compareIds(id, beforeId) < 0)
}

function* select(text: string, { matches, beforeId }: PastQuery): Generator<NodeEvent> {
  for (const line of linesOf(text)) {
    const event = eventOf(line)
    if (event !== undefined && compareIds(event.id, beforeId) < 0 && matches(event)) yield event
  }
}
