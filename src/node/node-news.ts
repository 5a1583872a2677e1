import type { Clock } from '../base/clock.ts'
import type { EventLog } from './event-log.ts'

/** What there is to tell of the node besides its type. */
export interface NodeNewsItem {
  readonly reason?: string
  readonly details?: Readonly<Record<string, string>>
  readonly actor?: string
  readonly causedBy?: string
}

/** What the node itself does, as events: it starts, stops, takes a new configuration. */
export interface NodeNews {
  /** Id of the last of these events; '' before the first. What happens to units at the node's own wish is because of it. */
  readonly last: string
  /** Adds an event and returns its id. */
  tell(type: string, item?: NodeNewsItem): string
}

export function createNodeNews({ clock, events }: { clock: Clock; events: EventLog }, node: string): NodeNews {
  let last = ''
  return {
    get last() {
      return last
    },
    tell(type, { reason = '', details = {}, actor = '', causedBy = '' } = {}) {
      const id = events.nextId()
      const about = { node, unit: '', instance: '', type, reason, details, cause: '' }
      events.append({ id, wallMs: clock.wallMs(), ...about, causedBy, actor })
      last = id
      return id
    },
  }
}
