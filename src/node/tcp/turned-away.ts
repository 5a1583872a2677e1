import type { Clock } from '../../base/clock.ts'
import type { Supervisor } from '../../process/index.ts'
import { replicasOf } from '../activation/wake-state.ts'
import type { NodeEvent } from '../event.ts'
import type { Tools } from '../parts.ts'
import type { TurnedAway } from './refusals.ts'

/** That connections were reset, and because of what: the state of their unit. */
export function turnedAwayEvent(
  { events }: Pick<Tools, 'events'>,
  clock: Clock,
  { node, supervisor }: { readonly node: string; readonly supervisor: Pick<Supervisor, 'status'> },
  { unit, listen, connections, error }: TurnedAway,
): NodeEvent {
  const [worst] = replicasOf(unit, supervisor.status())
  const what = connections === 1 ? 'a connection' : `${connections} connections`
  return {
    id: events.nextId(),
    wallMs: clock.wallMs(),
    node,
    unit,
    instance: worst?.instance ?? '',
    type: 'unit.connections_reset',
    reason: `${what} to ${listen}: ${error.message}`,
    details: { connections: String(connections), address: listen, why: error.reason },
    cause: '',
    causedBy: worst?.eventId ?? '',
    actor: '',
  }
}
