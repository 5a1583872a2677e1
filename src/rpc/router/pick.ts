import { type Random, sample } from '../../base/random.ts'
import type { Endpoint } from '../endpoint-source.ts'

/** What a pick depends on besides the endpoints. */
export interface PickSeams {
  readonly random: Random
  /** Calls this node has sent to an instance and not yet heard back from. */
  readonly inFlight: (instance: string) => number
  /** True for endpoints that have just failed; they are chosen only when there is no other. */
  readonly avoid: (endpoint: Endpoint) => boolean
}

/**
 * Chooses one of `candidates` by the power of two choices: sample two, take the less busy
 * (Mitzenmacher, IEEE TPDS 2001). Unlike "least busy of all", it does not stampede when many routers
 * share a stale view. Endpoints on the node `preferredNodeId` go first: their calls have no network to cross.
 * Undefined when there is no candidate. Readiness is the caller's affair.
 */
export function pick(
  candidates: readonly Endpoint[],
  preferredNodeId: string | undefined,
  { random, inFlight, avoid }: PickSeams,
): Endpoint | undefined {
  const sound = orAll(candidates, (endpoint) => !avoid(endpoint))
  const near = orAll(sound, (endpoint) => endpoint.nodeId === preferredNodeId)
  const [first, second] = sample(near, 2, random)
  if (first === undefined || second === undefined) return first
  return inFlight(second.instance) < inFlight(first.instance) ? second : first
}

/** Those that pass, or all when none does. */
function orAll(endpoints: readonly Endpoint[], passes: (endpoint: Endpoint) => boolean): readonly Endpoint[] {
  const passing = endpoints.filter(passes)
  return passing.length > 0 ? passing : endpoints
}
