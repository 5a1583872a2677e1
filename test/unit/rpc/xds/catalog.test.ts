import t from 'tap'
import { DEFAULT_ROUTE } from '../../../../src/rpc/default-route.ts'
import { Catalog } from '../../../../src/rpc/xds/catalog.ts'
import { PLAIN } from '../../../../src/rpc/xds/client-features.ts'
import { decode } from '../../../../src/rpc/xds/fields.ts'
import { echoAt, type LiteralWorld, literalWorld, SERVICE } from '../../../support/literal-world.ts'
import { linesOf } from '../../../support/xds-view.ts'

const STOCK = PLAIN
const INGRESS = '0 here/ingress 1 127.0.0.1:9470 1'

function catalogOf(world: LiteralWorld, prefer: 'host' | 'none' = 'host', draining: readonly string[] = []): Catalog {
  return new Catalog({
    endpoints: world,
    nodeId: 'self',
    routeOf: () => ({ ...DEFAULT_ROUTE, prefer }),
    isDraining: (instance) => draining.includes(instance),
    viewpoint: () => ({ node: 'here', zone: 'hall-1', ingress: '127.0.0.1:9470' }),
  })
}

function endpointsIn(catalog: Catalog, name = SERVICE, features = STOCK): string[] {
  return linesOf(decode('ClusterLoadAssignment', catalog.resource('endpoints', name, features).bytes))
}

const one = echoAt('127.0.0.1:1001', { instance: 'echo-0-aaaaaa' })
const two = echoAt('127.0.0.1:1002', { instance: 'echo-1-bbbbbb' })
const far = echoAt('127.0.0.1:1001', { instance: 'echo-0-cccccc', nodeId: 'other', node: 'there' })

t.test('where calls go', async (t) => {
  const own = ['0 here/echo-0 1 127.0.0.1:1001 1', '0 here/echo-1 1 127.0.0.1:1002 1']
  const cases: [name: string, lines: string[], world: LiteralWorld, prefer?: 'none'][] = [
    ['instances of this host, then the ingress', [...own, '1 here/ingress 1 127.0.0.1:9470 1'], literalWorld(two, one)],
    ['private ones of other hosts by the ingress', [INGRESS], literalWorld(far)],
    ['this host first', [...own, '1 here/ingress 1 127.0.0.1:9470 1'], literalWorld(one, two, far)],
    ['all alike, when the unit says so', [...own, INGRESS], literalWorld(one, two, far), 'none'],
    [
      'one that is not ready gets nothing',
      ['0 here/echo-0 1 127.0.0.1:1001 2', '0 here/echo-1 1 127.0.0.1:1002 1', '1 here/ingress 1 127.0.0.1:9470 1'],
      literalWorld(echoAt('127.0.0.1:1001', { ready: false }), two),
    ],
    [
      'the ingress answers, or holds, while none is ready',
      [INGRESS, '1 here/echo-0 1 127.0.0.1:1001 2'],
      literalWorld(echoAt('127.0.0.1:1001', { ready: false })),
    ],
    ['a name that nobody knows', [INGRESS], literalWorld()],
    [
      'one that sleeps and has not run yet',
      [INGRESS],
      literalWorld(echoAt('', { ready: false, instance: '', onCall: { holdMs: 1, starts: true } })),
    ],
    ['no literal address', [INGRESS], literalWorld(echoAt('localhost:1001'))],
    ['a unix socket, which stock clients refuse', [INGRESS], literalWorld(echoAt('unix:/run/echo.sock'))],
  ]
  for (const [name, lines, world, prefer] of cases) t.same(endpointsIn(catalogOf(world, prefer)), lines, name)
})

t.test('an instance that is being withdrawn is draining', async (t) => {
  const world = literalWorld(echoAt('127.0.0.1:1001', { ready: false }), two)
  t.match(endpointsIn(catalogOf(world, 'host', ['echo-0-aaaaaa']))[0], /127\.0\.0\.1:1001 3$/)
})

t.test('our own resolver connects to unix sockets', async (t) => {
  const catalog = catalogOf(literalWorld(echoAt('unix:/run/echo.sock')))
  t.match(
    endpointsIn(catalog, SERVICE, { ...PLAIN, pipes: true, routes: false })[0],
    '0 here/echo-0 1 /run/echo.sock 1',
  )
})

t.test('a unit has a name too', async (t) => {
  t.match(endpointsIn(catalogOf(literalWorld(one)), 'echo')[0], '0 here/echo-0 1 127.0.0.1:1001 1')
})

t.test('a resource is made anew exactly when its facts change', async (t) => {
  const world = literalWorld(one)
  const catalog = catalogOf(world)
  const before = catalog.resource('endpoints', SERVICE, STOCK)
  world.entries = [echoAt('127.0.0.1:1001', { instance: 'echo-0-aaaaaa' })]
  catalog.refresh()
  t.equal(catalog.resource('endpoints', SERVICE, STOCK), before, 'the same facts in other objects')
  world.entries = [one, two]
  t.equal(catalog.resource('endpoints', SERVICE, STOCK), before, 'nothing is looked at before it is told of')
  catalog.refresh()
  t.not(catalog.resource('endpoints', SERVICE, STOCK).check, before.check)
  t.equal(
    catalog.resource('listener', SERVICE, STOCK).check,
    catalogOf(literalWorld()).resource('listener', SERVICE, STOCK).check,
    'a listener does not depend on where instances are',
  )
})

t.test('listener, routes, cluster and endpoints name each other', async (t) => {
  const catalog = catalogOf(literalWorld(one))
  const { api_listener } = decode('Listener', catalog.resource('listener', SERVICE, STOCK).bytes)
  const manager = decode('ConnectionManager', api_listener?.api_listener?.value ?? new Uint8Array())
  t.equal(manager.rds?.route_config_name, SERVICE)
  t.equal(manager.http_filters?.at(-1)?.name, 'router')
  const routes = decode('RouteConfiguration', catalog.resource('routes', SERVICE, STOCK).bytes)
  t.equal(routes.name, SERVICE)
  t.equal(routes.virtual_hosts?.[0]?.routes?.[0]?.route?.cluster, SERVICE)
  const cluster = decode('Cluster', catalog.resource('cluster', SERVICE, STOCK).bytes)
  t.match(cluster, { name: SERVICE, type: 3, eds_cluster_config: { service_name: SERVICE } })
  t.match(cluster.lrs_server, { self: {} }, 'it asks for load reports')
})
