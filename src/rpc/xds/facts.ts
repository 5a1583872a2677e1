import { isIP } from 'node:net'
import { parseAddress } from '../address.ts'
import type { RouteConfig } from '../config.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import { type Part, splitOf } from '../router/split.ts'
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
  /** How clients split its calls; empty when they go anywhere. */
  readonly parts: readonly PartFacts[]
}

/** A part of the calls to a service, and the cluster it goes to. */
export interface PartFacts {
  readonly part: Part
  readonly cluster: string
  readonly route: RouteConfig
  readonly isSelfContained: boolean
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

/** The name of a service or of a unit, as clients have it in `xds:///NAME`, or of a part; of a service that nobody knows, too. */
export function factsOf(name: string, sources: FactSources, features: ClientFeatures): ServiceFacts {
  const { endpoints } = sources
  const [whole, units] = partsOfName(name)
  const known = endpoints.upstream(whole) ?? endpoints.byUnit(whole)
  if (units !== undefined) {
    const offering = known.filter(({ unit }) => units.includes(unit))
    return gathered(name, offering, sources, features)
  }
  const split = splitOf(known)
  const parts = split?.map((part): PartFacts => {
    const { name: cluster, route, ...rest } = factsOf(partName(name, part), sources, features)
    return { part, cluster, route, isSelfContained: isSelfContained({ route, ...rest }) }
  })
  // A client that cannot split, or would get to a part by the ingress, which splits again, leaves it to the ingress.
  const maySplit = features.routes && parts?.every(({ isSelfContained }) => isSelfContained) === true
  if (parts === undefined || maySplit) return { ...gathered(name, known, sources, features), parts: parts ?? [] }
  return gathered(name, known, sources, features, false)
}

function gathered(
  name: string,
  offering: readonly Endpoint[],
  sources: FactSources,
  features: ClientFeatures,
  mayBeDirect = true,
): ServiceFacts {
  const { nodeId, routeOf, isDraining } = sources
  // Of several units, that of one which is no canary.
  const { unit = '' } = offering.find(({ canary }) => canary === undefined) ?? offering[0] ?? {}
  const route = routeOf(unit)
  const ready = offering.filter((endpoint) => endpoint.ready)
  const isReached = (endpoint: Endpoint): boolean =>
    endpoint.nodeId === nodeId && isReachable(endpoint.address, features)
  const isDirect = mayBeDirect && mayGoStraight(route, features, ready.every(isReached)) ? isReached : () => false
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
    parts: [],
  }
}

/** Its calls go straight to it, as long as something of it is ready. */
function isSelfContained({ direct, indirect, route }: Pick<ServiceFacts, 'direct' | 'indirect' | 'route'>): boolean {
  return direct.some(({ health }) => health === 'healthy') && (route.prefer === 'host' || indirect === 0)
}

/** Stands between the name of a service and the units of a part of it; neither has it in its name. */
const OF_UNITS = '/'

/** Cluster of a part of a service: `shop.v1.Orders/orders-v2`. */
function partName(name: string, { units }: Part): string {
  return `${name}${OF_UNITS}${units.join('+')}`
}

function partsOfName(name: string): readonly [whole: string, units: readonly string[] | undefined] {
  const at = name.indexOf(OF_UNITS)
  return at < 0 ? [name, undefined] : [name.slice(0, at), name.slice(at + 1).split('+')]
}

/** Of the name of a service, a unit or a part, what it is a part of: the name clients ask for. */
export function wholeOf(name: string): string {
  return partsOfName(name)[0]
}

/** False when only the ingress does with calls what the unit asks for. */
function mayGoStraight({ policy }: RouteConfig, { ringHash }: ClientFeatures, areAllReached: boolean): boolean {
  // Equal metadata goes to one instance, wherever it is: a client that cannot hash or reach all would choose another.
  return policy !== 'consistent-hash' || (ringHash && areAllReached)
}

/** An instance is named after its slot: `echo-0-1a2b3c` is a run of `echo-0`. */
export function slotOf(instance: string): string {
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
