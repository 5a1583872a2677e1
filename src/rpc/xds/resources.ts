import { parseAddress } from '../address.ts'
import { BY_ADS, clusterOf } from './cluster.ts'
import type { DirectEndpoint, ServiceFacts } from './facts.ts'
import { durationOf, encode, type Message, type MessageName, packed } from './fields.ts'
import { routesOf } from './routes.ts'

/** The four kinds of resources, each with its message. */
export const RESOURCE_TYPES = {
  listener: 'Listener',
  routes: 'RouteConfiguration',
  cluster: 'Cluster',
  endpoints: 'ClusterLoadAssignment',
} as const satisfies Record<string, MessageName>

export type ResourceKind = keyof typeof RESOURCE_TYPES

/** Where the clients are, in words that their load reports repeat, and the way for what has no direct one. */
export interface Viewpoint {
  readonly node: string
  /** Label `zone` of the node; empty without one. */
  readonly zone: string
  /** `IP:port` of the ingress on this host. */
  readonly ingress: string
}

/** The region of all localities: a mesh is one. */
export const REGION = 'hsu'

/** Last part of the locality that stands for the ingress; no slot is named so, as they end with a number. */
const INGRESS = 'ingress'

/** As envoy.config.core.v3.HealthStatus has them. */
const HEALTH: Readonly<Record<DirectEndpoint['health'], number>> = { healthy: 1, unhealthy: 2, draining: 3 }

/** One resource of a name, encoded. Pure: the same facts give the same bytes. */
export function resourceOf(kind: ResourceKind, facts: ServiceFacts, viewpoint: Viewpoint): Uint8Array {
  switch (kind) {
    case 'listener':
      return encode('Listener', listenerOf(facts))
    case 'routes':
      return encode('RouteConfiguration', routesOf(facts))
    case 'cluster':
      return encode('Cluster', clusterOf(facts))
    case 'endpoints':
      return encode('ClusterLoadAssignment', endpointsOf(facts, viewpoint))
  }
}

function listenerOf({ name }: ServiceFacts): Message<'Listener'> {
  const manager = packed('ConnectionManager', {
    rds: { config_source: BY_ADS, route_config_name: name },
    http_filters: [{ name: 'router', typed_config: packed('Router', {}) }],
  })
  return { name, api_listener: { api_listener: manager } }
}

/** One group of endpoints, its share of the calls among those of equal priority, and its name within the node. */
interface Group {
  readonly place: string
  readonly weight: number
  readonly endpoints: readonly Message<'LbEndpoint'>[]
}

/**
 * Instances of this host come first, each slot a locality of its own so that load reports tell them apart; then the
 * ingress, which reaches all others, knows why there is none, and waits for those that start. It is always there: a
 * client whose direct connections fail turns to it by itself, and a name that nobody knows is answered by it in words.
 */
function endpointsOf(
  { name, direct, indirect, route, features }: ServiceFacts,
  viewpoint: Viewpoint,
): Message<'ClusterLoadAssignment'> {
  const local = features.leastRequest && route.policy === 'least-request' ? unitsOf(direct) : slotsOf(direct)
  const isOffered = direct.some(({ health }) => health === 'healthy')
  const ingress = {
    place: INGRESS,
    weight: Math.max(1, indirect),
    endpoints: [endpointAt(viewpoint.ingress, 'healthy')],
  }
  const alike = route.prefer === 'none' && indirect > 0
  const levels = isOffered ? (alike ? [[...local, ingress]] : [local, [ingress]]) : [[ingress], local]
  return {
    cluster_name: name,
    endpoints: levels
      .filter((groups) => groups.length > 0)
      .flatMap((groups, priority) => groups.map((group) => localityOf(group, priority, viewpoint))),
  }
}

function slotsOf(direct: readonly DirectEndpoint[]): readonly Group[] {
  return grouped(direct, ({ slot }) => slot).map(([place, endpoints]) => ({ place, weight: 1, endpoints }))
}

/** A client chooses the less busy of two within a locality, so that each slot by itself would leave it no choice. */
function unitsOf(direct: readonly DirectEndpoint[]): readonly Group[] {
  return grouped(direct, ({ unit }) => unit).map(([place, endpoints]) => {
    const healthy = endpoints.filter(({ health_status }) => health_status === HEALTH.healthy)
    return { place, weight: Math.max(1, healthy.length), endpoints }
  })
}

function grouped(
  direct: readonly DirectEndpoint[],
  placeOf: (endpoint: DirectEndpoint) => string,
): readonly (readonly [place: string, endpoints: readonly Message<'LbEndpoint'>[]])[] {
  const groups = new Map<string, Message<'LbEndpoint'>[]>()
  for (const endpoint of direct) {
    const [place, made] = [placeOf(endpoint), endpointAt(endpoint.address, endpoint.health)]
    const known = groups.get(place)
    if (known === undefined) groups.set(place, [made])
    else known.push(made)
  }
  return [...groups]
}

function endpointAt(address: string, health: DirectEndpoint['health']): Message<'LbEndpoint'> {
  const parsed = parseAddress(address)
  const there: Message<'Address'> =
    'path' in parsed
      ? { pipe: { path: parsed.path } }
      : { socket_address: { address: parsed.host, port_value: parsed.port } }
  return { endpoint: { address: there }, health_status: HEALTH[health] }
}

function localityOf(
  { place, weight, endpoints }: Group,
  priority: number,
  { node, zone }: Viewpoint,
): Message<'LocalityLbEndpoints'> {
  return {
    locality: { region: REGION, zone, sub_zone: `${node}/${place}` },
    load_balancing_weight: { value: weight },
    priority,
    lb_endpoints: endpoints,
  }
}

/** How often clients report their load: 1 s is the least that C-core takes. */
export const LOAD_REPORT_INTERVAL = durationOf(1_000)
