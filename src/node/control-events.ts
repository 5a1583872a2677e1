import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import {
  type CallContext,
  Scope,
  type StreamEventsRequest,
  type StreamEventsResponseSchema,
  type WhyLinkSchema,
  type WhySchema,
} from '../rpc/index.ts'
import { unitOf } from './control-units.ts'
import { fanOut } from './fan-out.ts'
import type { NodeCore } from './node-core.ts'
import { fromTimestamp, type Timestamp, toEvent } from './to-proto.ts'
import { chainOf, explain, type Link, sentence } from './why.ts'

type EventItem = MessageInitShape<typeof StreamEventsResponseSchema>

/** What the control API tells of the past: the events, and why a unit is as it is. */
export function eventHandlers(core: NodeCore) {
  return {
    streamEvents: (request: StreamEventsRequest, { signal }: CallContext) => streamEvents(core, request, signal),
    whyUnit: async ({ unit }: { unit: string }) => ({ instances: await whyUnit(core, unit) }),
  }
}

function streamEvents(core: NodeCore, request: StreamEventsRequest, signal: AbortSignal): AsyncIterable<EventItem> {
  const { units, types, follow, tail, since, until } = request
  if (follow && until !== undefined) throw new HsuError('USAGE', 'events until a time are not followed beyond it')
  const query = { units, types, follow, tail, sinceMs: fromTimestamp(since), untilMs: fromTimestamp(until) }
  return fanOut<EventItem>(core, request, signal, {
    own: async function* (signal) {
      for await (const event of core.events.query(query, signal)) yield { event: toEvent(event) }
    },
    ofPeer: (options) => core.control.streamEvents({ ...request, scope: Scope.NODE }, options),
    keyOf: ({ event }) => fromTimestamp(event?.time as Timestamp | undefined) ?? 0,
  })
}

async function whyUnit(core: NodeCore, unit: string): Promise<MessageInitShape<typeof WhySchema>[]> {
  core.specOf(unit)
  const statuses = core.supervisor.status()
  const source = {
    find: (id: string) => core.events.find(id),
    latestOf: (other: string) => statuses.find((status) => status.unit === other)?.eventId,
  }
  const own = statuses.filter((status) => status.unit === unit)
  return Promise.all(
    own.map(async (status) => {
      const links = explain(unit, await chainOf(status.eventId, source))
      const state = status.state === 'up' && !status.ready ? 'up but not ready' : status.state
      return { instance: unitOf(core, status), links: links.map(toLink), sentence: sentence(state, links) }
    }),
  )
}

function toLink({ event, text }: Link): MessageInitShape<typeof WhyLinkSchema> {
  return { text, ...(event === undefined ? {} : { event: toEvent(event) }) }
}
