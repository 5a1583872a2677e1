import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { DEFAULT_ROUTE } from '../../src/rpc/default-route.ts'
import { createXdsServer } from '../../src/rpc/xds/xds-server.ts'
import { AdsClient } from '../support/ads-client.ts'
import { echoAt, type LiteralWorld, literalWorld, SERVICE } from '../support/literal-world.ts'
import { memoryLog } from '../support/memory-log.ts'
import { until } from '../support/until.ts'

const INGRESS = '0 here/ingress 1 127.0.0.1:9470 1'
const ONE = ['0 here/echo-0 1 127.0.0.1:1001 1', '1 here/ingress 1 127.0.0.1:9470 1']

async function serverRig(t: Test, world: LiteralWorld = literalWorld(echoAt('127.0.0.1:1001'))) {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-xds-'))
  const socketPath = join(directory, 'xds.sock')
  const server = createXdsServer(
    {
      ...{ clock: systemClock, random: systemRandom, log: memoryLog(), endpoints: world, nodeId: 'self' },
      routeOf: () => DEFAULT_ROUTE,
      isDraining: () => false,
      viewpoint: () => ({ node: 'here', zone: '', ingress: '127.0.0.1:9470' }),
    },
    { socketPath, listen: '127.0.0.1:0' },
  )
  t.teardown(async () => {
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  await server.start()
  const change = (...entries: LiteralWorld['entries']): void => {
    world.entries = entries
    server.refresh()
  }
  return { server, socketPath, change, address: server.address() ?? '' }
}

t.test('clients are told by socket and by port, and told again when something changes', async (t) => {
  const { socketPath, address, change } = await serverRig(t)
  t.equal(statSync(socketPath).mode & 0o777, 0o600)
  const clients = [new AdsClient(t, `unix:${socketPath}`), new AdsClient(t, address)]
  for (const client of clients) {
    client.subscribe('ClusterLoadAssignment', SERVICE, 'no.such.Service')
    await until('an answer', () => client.endpointsOf(SERVICE).length > 0)
    t.same(client.endpointsOf(SERVICE), ONE)
    t.same(client.endpointsOf('no.such.Service'), [INGRESS])
  }
  change()
  for (const client of clients) {
    await until('the news', () => client.endpointsOf(SERVICE).length === 1)
    t.same(client.endpointsOf(SERVICE), [INGRESS])
  }
})

t.test('settled waits for those who use the name, and not for ever', async (t) => {
  const { server, address, change } = await serverRig(t)
  const [user, other] = [new AdsClient(t, address), new AdsClient(t, address)]
  user.subscribe('ClusterLoadAssignment', SERVICE)
  other.answers = false
  other.subscribe('ClusterLoadAssignment', 'other')
  await until('both to be told', () => user.endpointsOf(SERVICE).length * other.endpointsOf('other').length > 0)
  change()
  await server.settled([SERVICE], 10_000)
  t.same(user.endpointsOf(SERVICE), [INGRESS], 'who had the endpoint knows that it is gone')

  user.answers = false
  change(echoAt('127.0.0.1:1002'))
  const startedAtMs = systemClock.nowMs()
  await server.settled([SERVICE], 300)
  t.ok(systemClock.nowMs() - startedAtMs < 20_000, 'a client that does not answer is not waited for longer')
})

t.test('load reports are asked for and kept as long as their client is there', async (t) => {
  const { server, address } = await serverRig(t)
  const client = new AdsClient(t, address)
  const locality = { region: 'hsu', sub_zone: 'here/echo-0' }
  const stats = { locality, total_issued_requests: 3, total_requests_in_progress: 2 }
  const report = client.report([{ cluster_name: SERVICE, upstream_locality_stats: [stats] }])
  await until('the report', () => server.calls.inFlight('echo-0') === 2)
  t.type(server.calls.lastCallAtMs(SERVICE), 'number')
  await until('the request', () => report.asked.length > 0)
  t.match(report.asked[0], { send_all_clusters: true, load_reporting_interval: { seconds: 1 } })
  report.end()
  await until('its end', () => server.calls.inFlight('echo-0') === 0)
})

t.test('who does not speak the protocol is told so, and nobody else notices', async (t) => {
  const { address, server } = await serverRig(t)
  const good = new AdsClient(t, address)
  good.subscribe('ClusterLoadAssignment', SERVICE)
  const bad = new AdsClient(t, address)
  bad.babble()
  t.match(await until('its end', () => bad.end), /^3 not such a message/)
  const greedy = new AdsClient(t, address)
  greedy.subscribe('Listener', ...Array.from({ length: 3_000 }, (_, index) => `s${index}`))
  t.match(await until('its end', () => greedy.end), /^8 more than 2000 names/)
  t.same(await until('an answer', () => good.endpointsOf(SERVICE).length > 0 && good.endpointsOf(SERVICE)), ONE)
  await server.stop()
  t.match(await until('the end of all', () => good.end), /^14 the node is stopping/)
})
