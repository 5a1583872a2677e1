import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Clock } from '../../base/clock.ts'
import type { Host } from './host.ts'
import type { Link } from './link-plan.ts'

/** The open connections of this node, as the plan of links sees them. */
export class Connections {
  readonly #clock: Clock
  readonly #host: Host
  readonly #openedAtMs = new WeakMap<Connection, number>()

  constructor(clock: Clock, host: Host) {
    this.#clock = clock
    this.#host = host
  }

  opened(connection: Connection): void {
    this.#openedAtMs.set(connection, this.#clock.nowMs())
  }

  /** To a peer, the newest first. */
  to(peer: string): Connection[] {
    const open = this.#host.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open')
    return open.length < 2 ? open : open.toSorted((one, other) => other.timeline.open - one.timeline.open)
  }

  links(): Link[] {
    const open = this.#host.getConnections().filter(({ status }) => status === 'open')
    return open.map((connection) => this.#toLink(connection))
  }

  linksTo(peer: string): Link[] {
    return this.to(peer).map((connection) => this.#toLink(connection))
  }

  byId(link: string): Connection | undefined {
    return this.#host.getConnections().find(({ id }) => id === link)
  }

  #toLink(connection: Connection): Link {
    const gossip = connection.streams.filter(({ protocol }) => protocol.startsWith('/meshsub/'))
    return {
      id: connection.id,
      peer: connection.remotePeer.toString(),
      direction: connection.direction,
      openedAtMs: this.#openedAtMs.get(connection) ?? this.#clock.nowMs(),
      gossipOut: gossip.some(({ direction }) => direction === 'outbound'),
      gossipIn: gossip.some(({ direction }) => direction === 'inbound'),
    }
  }
}

/** True for text that is a libp2p peer id. */
export function isPeerId(text: string): boolean {
  try {
    peerIdFromString(text)
    return true
  } catch {
    return false
  }
}
