import { below, type Random } from '../../base/random.ts'
import type { Endpoint } from '../endpoint-source.ts'
import { pickByHash } from './hash.ts'

/** What a pick depends on besides the endpoints. */
export interface PickSeams {
  readonly random: Random
  /** Calls this node has sent to an instance and not yet heard back from. */
  readonly inFlight: (instance: string) => number
  /** True for endpoints that get no calls for a while; they are chosen only when there is no other. */
  readonly avoid: (endpoint: Endpoint) => boolean
}

/** How to pick. */
export interface PickTerms {
  readonly policy: 'least-request' | 'round-robin' | 'consistent-hash'
  /** Endpoints on this node go first: their calls have no network to cross. Undefined = none does. */
  readonly preferredNodeId: string | undefined
  /** After them, endpoints of nodes with this label `zone`. Undefined = none does. */
  readonly preferredZone?: string | undefined
  /** Calls in flight to a preferred endpoint from which on it is one of all. */
  readonly spillOver: number
  /** For `consistent-hash`; undefined for a call that has none. */
  readonly key: string | undefined
  /** For `round-robin`: where the turn is, kept by the caller. */
  readonly turn: { next: number }
}

/** Chooses one of `candidates`; undefined when there is none. Readiness is the caller's affair. */
export function pick(candidates: readonly Endpoint[], terms: PickTerms, seams: PickSeams): Endpoint | undefined {
  const { policy, key, turn } = terms
  const { random, inFlight, avoid } = seams
  if (candidates.length < 2) return candidates[0]
  const sound = orAll(candidates, (endpoint) => !avoid(endpoint))
  if (policy === 'consistent-hash' && key !== undefined) return pickByHash(sound, key, inFlight)
  const near = nearest(sound, terms, inFlight)
  if (policy === 'round-robin') {
    turn.next = (turn.next + 1) % 0x7fff_ffff
    return near[turn.next % near.length]
  }
  return lessBusyOfTwo(near, random, inFlight)
}

/** Those of this host that are not busy, else those of its zone that are not, else all. */
function nearest(
  endpoints: readonly Endpoint[],
  { preferredNodeId, preferredZone, spillOver }: PickTerms,
  inFlight: (instance: string) => number,
): readonly Endpoint[] {
  if (preferredNodeId === undefined) return endpoints
  const calm = endpoints.filter(({ instance }) => inFlight(instance) < spillOver)
  const here = calm.filter(({ nodeId }) => nodeId === preferredNodeId)
  if (here.length > 0) return here
  const around = preferredZone === undefined ? [] : calm.filter(({ zone }) => zone === preferredZone)
  return around.length > 0 ? around : endpoints
}

/**
 * The power of two choices: sample two, take the less busy (Mitzenmacher, IEEE TPDS 2001). Unlike "least busy of all", it does not
 * stampede when many routers share a stale view.
 */
function lessBusyOfTwo(
  endpoints: readonly Endpoint[],
  random: Random,
  inFlight: (instance: string) => number,
): Endpoint | undefined {
  const count = endpoints.length
  if (count < 2) return endpoints[0]
  const at = below(count, random)
  const first = endpoints[at]
  const second = endpoints[(at + 1 + below(count - 1, random)) % count]
  if (first === undefined || second === undefined) return first
  return inFlight(second.instance) < inFlight(first.instance) ? second : first
}

/** Those that pass, or all when none does. */
function orAll(endpoints: readonly Endpoint[], passes: (endpoint: Endpoint) => boolean): readonly Endpoint[] {
  const passing = endpoints.filter(passes)
  return passing.length > 0 ? passing : endpoints
}
