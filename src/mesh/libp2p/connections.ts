import type { Connection, PeerId } from '@libp2p/interface'
import { LRUCache } from 'lru-cache'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Clock } from '../../base/clock.ts'
import type { Host } from './host.ts'
import type { Link } from './link-plan.ts'

/** As many ids as there may be peers. */
const MAX_IDS = 1_024

/** The open connections of this node, as the plan of links sees them. */
export class Connections {
  readonly #clock: Clock
  readonly #host: Host
  /** Ids that were read lately: to read one is to decode base58 and a key, and each request needs one. */
  readonly #ids = new LRUCache<string, PeerId>({ max: MAX_IDS })
  readonly #openedAtMs = new WeakMap<Connection, number>()

  constructor(clock: Clock, host: Host) {
    this.#clock = clock
    this.#host = host
  }

  opened(connection: Connection): void {
    this.#openedAtMs.set(connection, this.#clock.nowMs())
  }

  /** To a peer, the newest first. None to what is no peer id. */
  to(peer: string): Connection[] {
    const id = this.#idOf(peer)
    if (id === undefined) return []
    const open = this.#host.getConnections(id).filter(({ status }) => status === 'open')
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

  #idOf(peer: string): PeerId | undefined {
    const known = this.#ids.get(peer)
    if (known !== undefined || !isPeerId(peer)) return known
    const id = peerIdFromString(peer)
    this.#ids.set(peer, id)
    return id
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
