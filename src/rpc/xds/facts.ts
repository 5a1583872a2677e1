import { isIP } from 'node:net'
import { parseAddress } from '../address.ts'
import type { RouteConfig } from '../config.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import type { ClientFeatures } from './client-features.ts'

/** Where a client of this host connects to directly, and what is thought of it. */
export interface DirectEndpoint {
  readonly unit: string
  /** Stays the same over restarts of the instance: `echo-0`. */
  readonly slot: string
  readonly address: string
  readonly health: 'healthy' | 'unhealthy' | 'draining'
}

/** All that the resources of one name depend on, and nothing else: equal facts are equal resources. */
export interface ServiceFacts {
  readonly name: string
  /** Instances on this host. */
  readonly direct: readonly DirectEndpoint[]
  /** How many ready instances are reached through the ingress only. */
  readonly indirect: number
  /** How many nodes have ready instances. */
  readonly nodes: number
  readonly route: RouteConfig
  readonly features: ClientFeatures
}

/** What facts are gathered from. */
export interface FactSources {
  readonly endpoints: EndpointSource
  /** Instances on other nodes are theirs to reach. */
  readonly nodeId: string
  readonly routeOf: (unit: string) => RouteConfig
  /** Still there for calls in flight, offered to nobody. */
  readonly isDraining: (instance: string) => boolean
}

/** The name of a service or of a unit, as clients have it in `xds:///NAME`; of a service that nobody knows, too. */
export function factsOf(name: string, sources: FactSources, features: ClientFeatures): ServiceFacts {
  const { endpoints, nodeId, routeOf, isDraining } = sources
  const offering = endpoints.upstream(name) ?? endpoints.byUnit(name)
  const route = routeOf(offering[0]?.unit ?? '')
  const ready = offering.filter((endpoint) => endpoint.ready)
  const isReached = (endpoint: Endpoint): boolean =>
    endpoint.nodeId === nodeId && isReachable(endpoint.address, features)
  const isDirect = mayGoStraight(route, features, ready.every(isReached)) ? isReached : () => false
  const direct = offering.filter(isDirect).map(
    ({ unit, instance, address, ready }): DirectEndpoint => ({
      unit,
      slot: slotOf(instance),
      address,
      health: ready ? 'healthy' : isDraining(instance) ? 'draining' : 'unhealthy',
    }),
  )
  return {
    name,
    direct: direct.sort(bySlot),
    indirect: ready.filter((endpoint) => !isDirect(endpoint)).length,
    nodes: new Set(ready.map((endpoint) => endpoint.nodeId)).size,
    route,
    features,
  }
}

/** False when only the ingress does with calls what the unit asks for. */
function mayGoStraight({ policy }: RouteConfig, { ringHash }: ClientFeatures, areAllReached: boolean): boolean {
  // Equal metadata goes to one instance, wherever it is: a client that cannot hash or reach all would choose another.
  return policy !== 'consistent-hash' || (ringHash && areAllReached)
}

/** An instance is named after its slot: `echo-0-1a2b3c` is a run of `echo-0`. */
function slotOf(instance: string): string {
  const end = instance.lastIndexOf('-')
  return end > 0 ? instance.slice(0, end) : instance
}

/** Clients refuse, or look up by themselves, what is no literal IP address. What sleeps and has not run yet has no address. */
function isReachable(address: string, { pipes }: ClientFeatures): boolean {
  if (address === '') return false
  const parsed = parseAddress(address)
  return 'path' in parsed ? pipes : isIP(parsed.host) !== 0
}

function bySlot(one: DirectEndpoint, other: DirectEndpoint): number {
  return compare(one.slot, other.slot) || compare(one.address, other.address)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
