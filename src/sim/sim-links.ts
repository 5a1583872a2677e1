import type { SimTransport } from './sim-transport.ts'

/** Two ends that can talk, until something closes it. */
export interface SimLink {
  readonly ends: readonly [SimTransport, SimTransport]
  /** What to do for each request under way when the link closes. */
  readonly onClose: Set<() => void>
}

/** The links there are, each under both of its ends. */
export class SimLinks {
  readonly #links = new Map<SimTransport, Map<string, SimLink>>()

  /** The link of a node to a peer, by the peer's id. */
  between(node: SimTransport, peer: string): SimLink | undefined {
    return this.#links.get(node)?.get(peer)
  }

  of(node: SimTransport): SimLink[] {
    return [...(this.#links.get(node)?.values() ?? [])]
  }

  join(one: SimTransport, other: SimTransport): void {
    const link: SimLink = { ends: [one, other], onClose: new Set() }
    this.#under(one).set(other.nodeId, link)
    this.#under(other).set(one.nodeId, link)
  }

  /** Ends a link; its ends are not told. */
  cut({ ends: [one, other], onClose }: SimLink): void {
    this.#links.get(one)?.delete(other.nodeId)
    this.#links.get(other)?.delete(one.nodeId)
    for (const close of [...onClose]) close()
  }

  #under(node: SimTransport): Map<string, SimLink> {
    const links = this.#links.get(node) ?? new Map<string, SimLink>()
    this.#links.set(node, links)
    return links
  }
}

/** The other end of a link. */
export function farEnd({ ends: [one, other] }: SimLink, node: SimTransport): SimTransport {
  return one === node ? other : one
}
