import type { RouteConfig } from '../config.ts'
import { WHOLE_SHARE } from '../endpoint-source.ts'
import { methodTerms } from '../router/method-terms.ts'
import type { PartFacts, ServiceFacts } from './facts.ts'
import { durationOf, type Message } from './fields.ts'

/** As the ingress waits between two attempts at one instance. gRPC doubles it each time (gRFC A6). */
const RETRY_BACK_OFF = { base_interval: durationOf(25), max_interval: durationOf(1_000) }

/** All calls of a channel: its target is the name of the resource. */
const ANY_DOMAIN = ['*']

/** Where calls go that match a route: what decides among the calls of equal path, and then what happens to them. */
interface Way {
  readonly headers: readonly Message<'HeaderMatcher'>[]
  readonly to: Pick<Message<'RouteAction'>, 'cluster' | 'weighted_clusters'>
  readonly route: RouteConfig
}

/**
 * The routes of a name, for each of its ways: one for each method that the unit's configuration has terms for, one for each
 * `SERVICE/*`, and one for all other calls. A client takes the first that matches.
 */
export function routesOf(facts: ServiceFacts): Message<'RouteConfiguration'> {
  const { name, features } = facts
  const routes = waysOf(facts).flatMap((way) => {
    const named = Object.keys(way.route.methods).sort(exactFirst)
    return [...named, undefined].map((method) => routeFor(way, method, features))
  })
  return { name, virtual_hosts: [{ name, domains: ANY_DOMAIN, routes }] }
}

/** Those asked for by metadata first, then all by their shares; on these hold the terms of the units that are no canaries. */
function waysOf({ name, route, parts }: ServiceFacts): readonly Way[] {
  const rest = parts.at(-1)
  if (rest === undefined) return [{ headers: [], to: { cluster: name }, route }]
  const asked = parts.filter(({ part }) => part.headers.length > 0)
  const shared = parts.filter(({ part }) => part.share > 0)
  const clusters = shared.map(({ cluster, part }) => ({ name: cluster, weight: { value: part.share } }))
  // Clients of today sum the weights up, older ones refuse what does not come to the total (gRFC A28).
  const weighted = { clusters, total_weight: { value: WHOLE_SHARE } }
  return [...asked.map(wayOf), { headers: [], to: { weighted_clusters: weighted }, route: rest.route }]
}

function wayOf({ part, cluster, route }: PartFacts): Way {
  return { headers: part.headers.map(([name, value]) => ({ name, exact_match: value })), to: { cluster }, route }
}

/** `method`: a key of the configuration, `SERVICE/METHOD` or `SERVICE/*`; undefined: all that has no route of its own. */
function routeFor(
  { headers, to, route }: Way,
  method: string | undefined,
  { timeouts }: ServiceFacts['features'],
): Message<'Route'> {
  const isExact = method !== undefined && !isWhole(method)
  const path = method === undefined ? '' : isExact ? `/${method}` : `/${method.slice(0, -1)}`
  // Of a whole service, or of all calls, the terms are those of a method that has none of its own: no method has an empty name.
  const { idempotent, retries, timeoutMs } = methodTerms(route, path)
  return {
    match: { ...(isExact ? { path } : { prefix: path }), headers },
    route: {
      ...to,
      ...(timeoutMs !== undefined &&
        timeouts && { max_stream_duration: { max_stream_duration: durationOf(timeoutMs) } }),
      ...(idempotent && retries > 0 && { retry_policy: retryPolicy(retries) }),
      ...(route.hash_on !== undefined && { hash_policy: [{ header: { header_name: route.hash_on } }] }),
    },
  }
}

/**
 * Only UNAVAILABLE, which is what a client makes of a broken connection too: the same calls that the ingress sends again. What
 * certainly reached nobody is sent again by every client, without a policy.
 */
function retryPolicy(retries: number): Message<'RetryPolicy'> {
  return { retry_on: 'unavailable', num_retries: { value: retries }, retry_back_off: RETRY_BACK_OFF }
}

function isWhole(method: string): boolean {
  return method.endsWith('/*')
}

/** Of two routes that both match a call, the one for its method must come first. */
function exactFirst(one: string, other: string): number {
  return Number(isWhole(one)) - Number(isWhole(other)) || (one < other ? -1 : 1)
}
