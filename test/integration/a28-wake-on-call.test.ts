import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { callEcho } from '../support/echo-load.ts'
import { eventsOf } from '../support/event-rows.ts'
import { aloneConfig, ECHO_UNIT, meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly node: string
  readonly state: string
  readonly ready: boolean
  readonly pid: number | null
  readonly reason: string
}
interface ServiceRow {
  readonly service: string
  readonly endpoints: readonly { readonly node: string; readonly ready: boolean }[]
}

/** Of a call that went well. */
const OK: number = status.OK
const ECHO = 'echo.v1.EchoService'

/** The echo example, asleep until it is called; each start of it adds a line to `starts`. */
const onCall = (starts: string, more: object = {}): object => ({
  ...ECHO_UNIT,
  run: ['sh', '-c', `echo "$HSU_NODE" >> '${starts}'; exec "$@"`, 'sh', ...ECHO_UNIT.run],
  services: [ECHO],
  activation: 'on-call',
  ...more,
})

const linesOf = (file: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0)

const ingressOf = (node: SpawnedNode): string => /ingress (127[.]0[.]0[.]1:\d+)/.exec(node.log)?.[1] ?? ''

const rowsOf = async (node: SpawnedNode, unit: string): Promise<readonly UnitRow[]> =>
  (await node.json<UnitRow>('ps')).filter((row) => row.unit === unit)

t.test('A28: 100 first calls through three nodes that all have the unit start one process', async (t) => {
  const { home, node } = nodeHome(t)
  const starts = join(home, 'starts')
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const nodes = ['a', 'b', 'c'].map((name) => {
    const only = name === 'c' ? { only: onCall(`${starts}-only`, { services: [] }) } : {}
    return node(name, { config: meshConfig(name, keyFile, { echo: onCall(starts), ...only }) })
  })
  await Promise.all(nodes.map((each) => each.start()))
  for (const each of nodes) {
    await until('all to know three places', async () =>
      (await each.json<ServiceRow>('services')).some(
        ({ service, endpoints }) => service === ECHO && endpoints.length === 3,
      ),
    )
    t.match(await rowsOf(each, 'echo'), [{ state: 'asleep' }, { state: 'asleep' }, { state: 'asleep' }])
  }

  const addresses = nodes.map(ingressOf)
  const calls = Array.from({ length: 100 }, (_, index) => callEcho(addresses[index % 3] ?? ''))
  const answers = await Promise.all(calls)
  t.same(
    answers.filter(({ code }) => code !== OK),
    [],
  )
  t.equal(new Set(answers.map(({ instance }) => instance)).size, 1, 'all were answered by the same instance')
  t.equal(linesOf(starts), 1, 'one process was started')
  const [first] = nodes as [SpawnedNode]
  t.equal((await rowsOf(first, 'echo')).filter(({ ready }) => ready).length, 1)

  await t.test('a unit that only another node has is found by its name, and woken there', async (t) => {
    const [a, b] = addresses as [string, string]
    await until('its node to be known', async () => (await rowsOf(first, 'only')).length === 1)
    const both = await Promise.all([a, b].map((address) => callEcho(address, { 'hsu-unit': 'only' })))
    t.match(both, [{ code: status.OK }, { code: status.OK }])
    t.equal(linesOf(`${starts}-only`), 1)
    t.match(await rowsOf(first, 'only'), [{ node: 'c', ready: true }])
  })
})

t.test('A28: a start that fails is the answer, with the state of the unit', async (t) => {
  const { home, node } = nodeHome(t)
  const runs = join(home, 'runs')
  const slow = { backoff: '1h..1h', jitter: '0%' }
  const units = {
    crashes: onCall(runs, { run: ['sh', '-c', `echo >> '${runs}'; exit 3`], restart: slow }),
    missing: onCall(runs, { run: ['/no/such/program'], restart: { ...slow, then: 'retry 1h' } }),
    stuck: onCall(runs, { run: ['sleep', '1000'], idle: { hold: '300ms' } }),
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  const call = (unit: string) => callEcho(ingressOf(alone), { 'hsu-unit': unit })

  const crashed = await Promise.all([1, 2, 3].map(() => call('crashes')))
  for (const { code, details } of crashed) {
    t.equal(code, status.UNAVAILABLE)
    t.match(details, /'crashes'.*backoff: exited with code 3.*next try in (1h|59m)/)
  }
  t.equal((await call('crashes')).code, status.UNAVAILABLE)
  t.equal((await eventsOf(alone, 'crashes', '--type', 'unit.requested')).length, 1)
  t.equal(linesOf(runs), 1, 'calls do not start it sooner than its backoff does')

  const missing = await call('missing')
  t.equal(missing.code, status.UNAVAILABLE)
  t.match(missing.details, /'missing'.*failed.*no\/such\/program/)

  const stuck = await call('stuck')
  t.equal(stuck.code, status.UNAVAILABLE)
  t.match(stuck.details, /'stuck' is not ready after the 300ms/)
})

t.test('A28: people wake a unit too, and what they have stopped stays so', async (t) => {
  const { home, node } = nodeHome(t)
  const starts = join(home, 'starts')
  const alone = node('alone', { config: aloneConfig('alone', { echo: onCall(starts) }) })
  await alone.start()
  t.match((await alone.hsu('ps')).stdout, /echo .*asleep .*nobody has called it yet/)
  const woken = await alone.hsu('wake', 'echo')
  t.equal(woken.code, 0, woken.stderr)
  t.match(woken.stdout, /echo-0-\w+@alone is up, pid \d+/, 'it is ready when the command returns')
  t.match((await alone.hsu('why', 'echo')).stdout, /up\s+because wake asked for by/)
  t.equal((await alone.hsu('wake', 'echo')).code, 0)
  t.equal(linesOf(starts), 1)

  await alone.hsu('stop', 'echo')
  const refused = await callEcho(ingressOf(alone))
  t.equal(refused.code, status.UNAVAILABLE)
  t.match(refused.details, /'echo' does not take calls: it is down: stopped; it stays so until 'hsu start echo'/)
  t.equal((await alone.hsu('wake', 'echo')).code, 0)
  t.equal((await callEcho(ingressOf(alone))).code, status.OK)
  t.equal(linesOf(starts), 2)
})
