import { methodTerms } from '../router/method-terms.ts'
import type { ServiceFacts } from './facts.ts'
import { durationOf, type Message } from './fields.ts'

/** As the ingress waits between two attempts at one instance. gRPC doubles it each time (gRFC A6). */
const RETRY_BACK_OFF = { base_interval: durationOf(25), max_interval: durationOf(1_000) }

/** All calls of a channel: its target is the name of the resource. */
const ANY_DOMAIN = ['*']

/**
 * The routes of a name: one for each method that the unit's configuration has terms for, one for each `SERVICE/*`, and
 * one for all other calls. A client takes the first that matches.
 */
export function routesOf(facts: ServiceFacts): Message<'RouteConfiguration'> {
  const { name, route } = facts
  const named = Object.keys(route.methods).sort(exactFirst)
  const routes = [...named.map((method) => routeFor(facts, method)), routeFor(facts, undefined)]
  return { name, virtual_hosts: [{ name, domains: ANY_DOMAIN, routes }] }
}

/** `method`: a key of the configuration, `SERVICE/METHOD` or `SERVICE/*`; undefined: all that has no route of its own. */
function routeFor({ name, route, features }: ServiceFacts, method: string | undefined): Message<'Route'> {
  const isExact = method !== undefined && !isWhole(method)
  const path = method === undefined ? '' : isExact ? `/${method}` : `/${method.slice(0, -1)}`
  // Of a whole service, or of all calls, the terms are those of a method that has none of its own: no method has an empty name.
  const { idempotent, retries, timeoutMs } = methodTerms(route, path)
  return {
    match: isExact ? { path } : { prefix: path },
    route: {
      cluster: name,
      ...(timeoutMs !== undefined &&
        features.timeouts && { max_stream_duration: { max_stream_duration: durationOf(timeoutMs) } }),
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
