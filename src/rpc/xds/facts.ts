import { isIP } from 'node:net'
import { parseAddress } from '../address.ts'
import type { RouteConfig } from '../config.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'

/** What a client may be told; older or lesser ones get less. */
export interface ClientFeatures {
  /** It connects to unix sockets: our own resolver does, no stock xDS client. */
  readonly pipes: boolean
}

/** Where a client of this host connects to directly, and what is thought of it. */
export interface DirectEndpoint {
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
  readonly route: Pick<RouteConfig, 'prefer'>
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
  const isDirect = (endpoint: Endpoint): boolean =>
    endpoint.nodeId === nodeId && isReachable(endpoint.address, features)
  const direct = offering.filter(isDirect).map(
    ({ instance, address, ready }): DirectEndpoint => ({
      slot: slotOf(instance),
      address,
      health: ready ? 'healthy' : isDraining(instance) ? 'draining' : 'unhealthy',
    }),
  )
  const { prefer } = routeOf(offering[0]?.unit ?? '')
  return {
    name,
    direct: direct.sort(bySlot),
    indirect: offering.filter((endpoint) => endpoint.ready && !isDirect(endpoint)).length,
    route: { prefer },
  }
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
