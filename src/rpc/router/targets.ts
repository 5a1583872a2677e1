import type { Endpoint } from '../endpoint-source.ts'
import { makeField } from '../h2/field.ts'
import type { LinkTarget, Target } from '../target.ts'
import type { MethodTerms } from './method-terms.ts'

/** An endpoint as a target. */
export interface EndpointTarget extends Target {
  readonly endpoint: Endpoint
}

/** How to reach another node; undefined when it is not in the mesh (any more). */
export type LinkOf = (nodeId: string) => LinkTarget | undefined

/** Endpoints as targets: those of this node are called, those of others by a link to their owner. */
export class Targets {
  readonly #nodeId: string
  readonly #linkOf: LinkOf
  /** Endpoints are made anew when anything about them changes. */
  readonly #known = new WeakMap<Endpoint, EndpointTarget>()

  constructor(nodeId: string, linkOf: LinkOf) {
    this.#nodeId = nodeId
    this.#linkOf = linkOf
  }

  /** For calls of a method with these terms. */
  of(endpoint: Endpoint, { timeoutMs, hedging }: MethodTerms): EndpointTarget {
    const known = this.#known.get(endpoint)
    const { unit, instance, nodeId, node, address } = endpoint
    const isSame = known?.timeoutMs === timeoutMs && known?.hedging === hedging
    if (known !== undefined && nodeId === this.#nodeId && isSame) return known
    const shared = { endpoint, unit, instance, timeoutMs, hedging }
    const target: EndpointTarget =
      nodeId === this.#nodeId
        ? { ...shared, to: { kind: 'local', address }, label: `instance '${instance}'`, add: [] }
        : {
            ...shared,
            to: { kind: 'link', link: this.#linkOf(nodeId) ?? unknownLink(nodeId) },
            label: `instance '${instance}' on node '${node}'`,
            add: known?.add ?? [makeField('hsu-unit', unit, true), makeField('hsu-instance', instance, true)],
          }
    this.#known.set(endpoint, target)
    return target
  }
}

/** A node that has just left: its link has no address, so that the attempt fails and another endpoint is tried. */
function unknownLink(nodeId: string): LinkTarget {
  return { nodeId, addresses: [], fingerprint: '' }
}
