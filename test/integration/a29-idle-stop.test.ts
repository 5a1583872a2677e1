import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { AdsClient } from '../support/ads-client.ts'
import { callEcho, EchoChat } from '../support/echo-load.ts'
import { eventsOf } from '../support/event-rows.ts'
import { freePort } from '../support/free-port.ts'
import { aloneConfig, ECHO_UNIT } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly state: string
  readonly reason: string
}

const OK: number = status.OK
const IDLE_MS = 1_000
const sleeper = (more: object = {}): object => ({
  ...ECHO_UNIT,
  activation: 'on-call',
  idle: { stop_after: '1s' },
  ...more,
})

const ingressOf = (node: SpawnedNode): string => /ingress (127[.]0[.]0[.]1:\d+)/.exec(node.log)?.[1] ?? ''
const linesOf = (file: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0)

async function row(node: SpawnedNode, unit: string): Promise<UnitRow> {
  const found = (await node.json<UnitRow>('ps')).find((each) => each.unit === unit)
  if (found === undefined) throw new Error(`no unit ${unit}`)
  return found
}

const asleep = (node: SpawnedNode, unit: string): Promise<UnitRow> =>
  until(`${unit} to be asleep`, async () => {
    const found = await row(node, unit)
    return found.state === 'asleep' && found.reason === 'idle for 1s' && found
  })

t.test('A29: a unit is stopped when nobody needs it, and not before', async (t) => {
  const { node } = nodeHome(t)
  const names = ['plain', 'chat', 'kept', 'direct']
  const units = Object.fromEntries(names.map((name) => [name, sleeper()]))
  const port = await freePort()
  const config = aloneConfig('alone', {
    ...units,
    direct: sleeper({ ports: { grpc: port } }),
    kept: sleeper({ idle: { stop_after: '1s', min: 1 } }),
  })
  const alone = node('alone', { config })
  await alone.start()
  const ingress = ingressOf(alone)
  for (const name of names) t.match(await callEcho(ingress, { 'hsu-unit': name }), { code: OK })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const chat = new EchoChat(ingress, { 'hsu-unit': 'chat' })
  t.equal(await chat.say('hello'), 'hello')

  await asleep(alone, 'plain')
  t.match(await callEcho(ingress, { 'hsu-unit': 'plain' }), { code: OK }, 'it is woken again')
  await asleep(alone, 'plain')
  t.equal((await eventsOf(alone, 'plain', '--type', 'unit.asleep')).length, 2)
  t.match(await row(alone, 'chat'), { state: 'up' }, 'an open stream keeps it awake')
  t.match(await row(alone, 'direct'), { state: 'up' }, 'so does a connection past the node')
  t.match(await row(alone, 'kept'), { state: 'up' }, 'and that one of it always runs')
  t.match((await alone.hsu('why', 'plain')).stdout, /asleep\s+because idle for 1s/)

  const endedAtMs = Date.now()
  chat.close()
  socket.destroy()
  for (const unit of ['chat', 'direct']) {
    await asleep(alone, unit)
    const [stopping] = await eventsOf(alone, unit, '--type', 'unit.stopping')
    const afterMs = Date.parse(stopping?.time ?? '') - endedAtMs
    t.ok(afterMs >= IDLE_MS - 100, `${unit} after ${afterMs} ms`)
  }
})

t.test('A29: calls that clients send directly keep a unit awake, as they report them', async (t) => {
  const { node } = nodeHome(t)
  const names = ['reported', 'other']
  const config = aloneConfig('alone', Object.fromEntries(names.map((name) => [name, sleeper()])))
  const alone = node('alone', { config })
  await alone.start()
  const ingress = ingressOf(alone)
  // No connection to the unit itself: the report is all there is.
  const client = new AdsClient(t, `unix:${join(alone.directory, 'run', 'xds.sock')}`)
  const locality = { region: 'hsu', sub_zone: 'alone/reported-0' }
  const stats = { locality, total_issued_requests: 1, total_requests_in_progress: 1 }
  const report = client.report([{ cluster_name: 'reported', upstream_locality_stats: [stats] }])
  await until('the report to be taken', () => report.asked.length > 0)
  for (const name of names) t.match(await callEcho(ingress, { 'hsu-unit': name }), { code: OK })
  await asleep(alone, 'other')
  const services = await alone.json<{ endpoints: { unit: string; inFlight: number }[] }>('services')
  t.match(
    services.flatMap(({ endpoints }) => endpoints).filter(({ unit }) => unit === 'reported'),
    [{ inFlight: 1 }],
    'it is shown as well',
  )
  t.match(await callEcho(ingress, { 'hsu-unit': 'other' }), { code: OK })
  await asleep(alone, 'other')
  t.match(await row(alone, 'reported'), { state: 'up' })
  report.end()
  await asleep(alone, 'reported')
})

t.test('A29: a call that comes during the stop is held and served by a fresh start', async (t) => {
  const { home, node } = nodeHome(t)
  const [starts, ended] = [join(home, 'starts'), join(home, 'ended')]
  const script = `echo >> '${starts}'; trap 'while [ ! -e "${ended}" ]; do sleep 0.1; done; exit 0' TERM; "$@" & wait; wait`
  const stubborn = sleeper({ run: ['sh', '-c', script, 'sh', ...ECHO_UNIT.run], stop: { grace: '60s' } })
  const alone = node('alone', { config: aloneConfig('alone', { echo: stubborn }) })
  await alone.start()
  const call = () => callEcho(ingressOf(alone), { 'hsu-unit': 'echo' })
  t.equal((await call()).code, OK)
  await until('it to be stopping', async () => (await row(alone, 'echo')).state === 'stopping')
  const calls = [call(), call(), call()]
  t.match(await row(alone, 'echo'), { state: 'stopping' })
  writeFileSync(ended, '')
  for (const { code } of await Promise.all(calls)) t.equal(code, OK)
  t.equal(linesOf(starts), 2)
})
