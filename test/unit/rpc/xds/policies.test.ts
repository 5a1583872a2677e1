import t from 'tap'
import { type RouteConfig, routeSchema } from '../../../../src/rpc/config.ts'
import type { Endpoint } from '../../../../src/rpc/endpoint-source.ts'
import { Catalog } from '../../../../src/rpc/xds/catalog.ts'
import { type ClientFeatures, featuresOf, PLAIN } from '../../../../src/rpc/xds/client-features.ts'
import { decode } from '../../../../src/rpc/xds/fields.ts'
import { echoAt, literalWorld, SERVICE } from '../../../support/literal-world.ts'
import { linesOf } from '../../../support/xds-view.ts'

const GO = featuresOf({ user_agent_name: 'gRPC Go', user_agent_version: '1.75.0' })
const OLD = featuresOf({ user_agent_name: 'gRPC C-core', user_agent_version: 'C-core 29.0.0' })
const INGRESS = '0 here/ingress 1 127.0.0.1:9470 1'

const here = (replica: number): Partial<Endpoint> => ({ instance: `echo-${replica}-aaaaaa` })
const there = (replica: number): Partial<Endpoint> => ({ ...here(replica), nodeId: 'other', node: 'there' })

/** What a client is told of a unit with this `route`, whose replicas are at these places. */
function told(route: Readonly<Record<string, unknown>>, features: ClientFeatures, ...places: Partial<Endpoint>[]) {
  const config: RouteConfig = routeSchema.parse(route)
  const catalog = new Catalog({
    endpoints: literalWorld(...places.map((values, at) => echoAt(`127.0.0.1:${1001 + at}`, values))),
    nodeId: 'self',
    routeOf: () => config,
    isDraining: () => false,
    viewpoint: () => ({ node: 'here', zone: '', ingress: '127.0.0.1:9470' }),
  })
  const bytes = (kind: 'routes' | 'cluster' | 'endpoints') => catalog.resource(kind, SERVICE, features).bytes
  return {
    routes: decode('RouteConfiguration', bytes('routes')).virtual_hosts?.[0]?.routes ?? [],
    cluster: decode('Cluster', bytes('cluster')),
    endpoints: linesOf(decode('ClusterLoadAssignment', bytes('endpoints'))),
    of: (part: string) => linesOf(decode('ClusterLoadAssignment', catalog.resource('endpoints', part, features).bytes)),
  }
}

t.test('a route for each method with terms of its own, the nearest first', async (t) => {
  const methods = {
    'echo.Echo/*': { idempotent: true, retries: 1 },
    'echo.Echo/Put': { timeout: '1500ms' },
    'echo.Echo/Get': { idempotent: true },
    'echo.Echo/None': { idempotent: true, retries: 0 },
  }
  const { routes } = told({ timeout: '2s', retries: 3, methods }, GO, here(0))
  const shown = routes.map(({ match, route }) => [
    match?.path ?? `${match?.prefix ?? ''}...`,
    route?.max_stream_duration?.max_stream_duration,
    route?.retry_policy?.num_retries?.value,
    route?.cluster,
  ])
  const [twoSeconds, lessTime] = [
    { seconds: 2, nanos: 0 },
    { seconds: 1, nanos: 500_000_000 },
  ]
  t.match(shown, [
    ['/echo.Echo/Get', { seconds: 2 }, 3, SERVICE],
    ['/echo.Echo/None', { seconds: 2 }, undefined, SERVICE],
    ['/echo.Echo/Put', lessTime, undefined, SERVICE],
    ['/echo.Echo/...', { seconds: 2 }, 1, SERVICE],
    ['...', { seconds: twoSeconds.seconds }, undefined, SERVICE],
  ])
  t.notOk(told({ timeout: '2s' }, OLD, here(0)).routes[0]?.route?.max_stream_duration, 'C-core ends calls too early')
  t.match(routes[0]?.route?.retry_policy, { retry_on: 'unavailable', retry_back_off: { max_interval: { seconds: 1 } } })
})

t.test('a unit that says nothing gets nothing that may run a call twice, or end it', async (t) => {
  const { routes, cluster } = told({}, GO, here(0))
  t.equal(routes.length, 1)
  t.strictSame(Object.keys(routes[0]?.route ?? {}), ['cluster'])
  t.notOk(cluster.outlier_detection)
  t.equal(cluster.circuit_breakers?.thresholds?.[0]?.max_requests?.value, 0xffff_ffff, 'not the 1,024 of gRPC')
})

t.test('who answers badly is left out, once the unit asks for it and the client is known to do it well', async (t) => {
  const route = { ejection: { failures: 7, time: '2s..30s', max_share: '40%' } }
  t.match(told(route, GO, here(0)).cluster.outlier_detection, {
    interval: { seconds: 1 },
    base_ejection_time: { seconds: 2 },
    max_ejection_time: { seconds: 30 },
    max_ejection_percent: { value: 40 },
    enforcing_success_rate: {},
    failure_percentage_request_volume: { value: 7 },
  })
  t.notOk(told(route, OLD, here(0)).cluster.outlier_detection)
})

t.test('a client may have under way what the unit takes', async (t) => {
  const limits = { concurrency: 20 }
  const most = (route: object, ...places: Partial<Endpoint>[]): number | undefined =>
    told({ limits, ...route }, GO, ...places).cluster.circuit_breakers?.thresholds?.[0]?.max_requests?.value
  t.equal(most({}, here(0), here(1), there(0)), 20)
  t.equal(most({ prefer: 'none' }, here(0), there(0)), 40, 'on each of two nodes')
  t.equal(most({}, there(0)), 0xffff_ffff, 'behind the ingress the node that runs it sees to it')
})

t.test('least-request for those that have it, else in turn', async (t) => {
  const { cluster, endpoints } = told({}, GO, here(0), here(1))
  t.equal(cluster.lb_policy, 1)
  t.same(
    endpoints,
    ['0 here/echo 2 127.0.0.1:1001 1 127.0.0.1:1002 1', INGRESS.replace('0', '1')],
    'both are in one place, so that there is a choice',
  )
  t.notOk(told({}, PLAIN, here(0), here(1)).cluster.lb_policy)
  t.notOk(told({ policy: 'round-robin' }, GO, here(0)).cluster.lb_policy)
})

t.test('equal metadata goes to one instance of all, by the ingress where a client could not see to it', async (t) => {
  const route = { policy: 'consistent-hash', hash_on: 'x-user' }
  const all = told(route, GO, here(0), here(1))
  t.equal(all.cluster.lb_policy, 2)
  t.same(all.routes[0]?.route?.hash_policy, [{ header: { header_name: 'x-user' } }])
  t.equal(all.endpoints.length, 3)
  for (const [why, features, ...places] of [
    ['one is on another host', GO, here(0), there(1)],
    ['the client crashes on it', OLD, here(0), here(1)],
    ['the client takes endpoints only', featuresOf({ user_agent_name: 'hsu-resolver' }), here(0), here(1)],
  ] as const) {
    t.same(told(route, features, ...places).endpoints, ['0 here/ingress 2 127.0.0.1:9470 1'], why)
  }
})

const CANARY = { share: 1_000, headers: { 'x-canary': '1' } }
const canaryHere = { unit: 'echo-v2', instance: 'echo-v2-0-aaaaaa', canary: CANARY } as const
const canaryThere = { ...canaryHere, nodeId: 'other', node: 'there' } as const

t.test('a canary is told as routes: those that ask for it, then all by weight', async (t) => {
  const methods = { 'echo.Echo/Get': { idempotent: true } }
  const { routes, cluster } = told({ methods, policy: 'round-robin' }, GO, here(0), here(1), canaryHere)
  t.equal(cluster.name, SERVICE)
  const shown = routes.map(({ match, route }) => ({
    path: match?.path ?? `${match?.prefix ?? ''}...`,
    asks: (match?.headers ?? []).map(({ name, exact_match }) => `${name ?? ''}=${exact_match ?? ''}`).join(),
    to:
      route?.cluster ??
      (route?.weighted_clusters?.clusters ?? []).map(({ name, weight }) => `${name ?? ''} ${weight?.value ?? 0}`),
    retries: route?.retry_policy?.num_retries?.value,
  }))
  const shares = [`${SERVICE}/echo-v2 1000`, `${SERVICE}/echo 9000`]
  t.same(shown, [
    { path: '/echo.Echo/Get', asks: 'x-canary=1', to: `${SERVICE}/echo-v2`, retries: 2 },
    { path: '...', asks: 'x-canary=1', to: `${SERVICE}/echo-v2`, retries: undefined },
    { path: '/echo.Echo/Get', asks: '', to: shares, retries: 2 },
    { path: '...', asks: '', to: shares, retries: undefined },
  ])
  t.equal(routes.at(-1)?.route?.weighted_clusters?.total_weight?.value, 10_000)
  const part = (unit: string) =>
    told({ policy: 'round-robin' }, GO, here(0), here(1), canaryHere).of(`${SERVICE}/${unit}`)
  t.same(part('echo-v2'), ['0 here/echo-v2-0 1 127.0.0.1:1003 1', '1 here/ingress 1 127.0.0.1:9470 1'])
  t.equal(part('echo').length, 3)
})

t.test('the ingress splits what a client would get there by the ingress, or cannot split', async (t) => {
  for (const [why, route, features, ...places] of [
    ['the canary is on another host', {}, GO, here(0), canaryThere],
    ['all others are on another host', {}, GO, there(0), canaryHere],
    ['all instances are alike, some on another host', { prefer: 'none' }, GO, here(0), canaryHere, there(0)],
    ['the client takes endpoints only', {}, featuresOf({ user_agent_name: 'hsu-resolver' }), here(0), canaryHere],
  ] as const) {
    const { routes, endpoints } = told(route, features, ...places)
    t.equal(routes[0]?.route?.cluster, SERVICE, why)
    t.match(endpoints, [/ingress/], why)
    t.equal(endpoints.length, 1, why)
  }
})
