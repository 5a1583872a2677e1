import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { callEcho, EchoLoad } from '../support/echo-load.ts'
import { aloneConfig, ECHO_UNIT, LISTEN, meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly state: string
  readonly ready: boolean
  readonly pid: number
}

const OK: number = status.OK
const REST_MS = 5
const CALLS_AROUND = 40
/** A start that takes so long that no call could miss it. */
const START_MS = 400

const slowEcho = (more: object = {}): object => ({
  ...ECHO_UNIT,
  run: ['sh', '-c', `sleep ${START_MS / 1_000}; exec "$@"`, 'sh', ...ECHO_UNIT.run],
  ...more,
})

const ingressOf = (node: SpawnedNode): string => /ingress (127[.]0[.]0[.]1:\d+)/.exec(node.log)?.[1] ?? ''

async function must(node: SpawnedNode, ...args: string[]): Promise<void> {
  const { code, stderr } = await node.hsu(...args)
  if (code !== 0) throw new Error(`hsu ${args.join(' ')} ended with ${code}: ${stderr}`)
}

async function row(node: SpawnedNode, unit: string): Promise<UnitRow> {
  const found = (await node.json<UnitRow>('ps')).find((each) => each.unit === unit)
  if (found === undefined) throw new Error(`no unit ${unit}`)
  return found
}

const untilServed = (address: string) => until('the unit to serve', async () => (await callEcho(address)).code === OK)

t.test('a call waits for the only replica while that is restarted, through its node and through another', async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const withEcho = (env: object): object => meshConfig('b', keyFile, { echo: slowEcho({ env }) })
  const a = node('a', { config: meshConfig('a', keyFile) })
  const b = node('b', { config: withEcho({}) })
  await Promise.all([a.start(), b.start()])
  const addresses = [a, b].map(ingressOf)
  await Promise.all(addresses.map(untilServed))
  const loads = addresses.map((address) => new EchoLoad(address, 2, { restMs: REST_MS }))
  const calls = (): readonly number[] => loads.map((load) => load.calls)
  const someCalls = async (): Promise<void> => {
    const from = calls()
    await until('some calls', () => calls().every((count, each) => count >= (from[each] ?? 0) + CALLS_AROUND))
  }
  const step = async (what: string, act: () => Promise<void>): Promise<void> => {
    const { pid } = await row(a, 'echo')
    await someCalls()
    await act()
    await until('another process', async () => {
      const now = await row(b, 'echo')
      return now.ready && now.pid !== pid
    })
    await someCalls()
    t.same(
      loads.flatMap((load) => [...load.failures]),
      [],
      what,
    )
  }
  await step('hsu restart', () => must(a, 'restart', 'echo'))
  await step('hsu restart once more', () => must(b, 'restart', 'echo'))
  await step('a changed configuration', () => {
    b.configure(withEcho({ VERSION: '2' }))
    return must(b, 'reload')
  })
  for (const load of loads) {
    const { failures, longestMs } = await load.end()
    t.same(failures, [])
    t.ok(longestMs >= START_MS, 'calls have waited for it')
  }
})

t.test('a node that has just started holds calls for names that it cannot know yet', async (t) => {
  const { node } = nodeHome(t)
  const first = node('alone', { config: aloneConfig('alone', { echo: slowEcho() }) })
  await first.start()
  const ingress = ingressOf(first)
  t.match(await callEcho(ingress), { code: OK }, 'the very first start')

  // The same door again, so that the first call can come as soon as it is open.
  const listen = { ...LISTEN, ingress }
  first.configure(aloneConfig('alone', { echo: slowEcho() }, { listen }))
  for (const end of ['down', 'a crash']) {
    if (end === 'down') await must(first, 'down')
    else first.signal('SIGKILL')
    await first.ended()
    first.launch()
    const answer = await until('an answer', async () => {
      const answer = await callEcho(ingress)
      return /No connection established|ECONNREFUSED/.test(answer.details) ? undefined : answer
    })
    t.match(answer, { code: OK }, `after ${end}`)
    await until('the node to answer', async () => (await first.hsu('ps')).code === 0)
  }
  const unknown = await callEcho(ingress, { 'hsu-unit': 'nobody' })
  t.equal(unknown.code, status.NOT_FOUND)
})

t.test('a call waits for a unit that crashed once, and for none that does so again and again', async (t) => {
  const { node } = nodeHome(t)
  const restart = { backoff: '300ms..300ms', jitter: '0%' }
  const units = {
    echo: slowEcho({ restart }),
    broken: {
      ...ECHO_UNIT,
      services: ['broken.v1.Broken'],
      run: ['sh', '-c', 'exit 3'],
      restart: { backoff: '5s..5s' },
    },
    impatient: slowEcho({ route: { hold: '0s' } }),
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  const call = (unit: string) => callEcho(ingressOf(alone), { 'hsu-unit': unit })
  t.match(await call('echo'), { code: OK })

  const { pid } = await row(alone, 'echo')
  process.kill(pid, 'SIGKILL')
  await until('the crash to be seen', async () => (await row(alone, 'echo')).pid !== pid)
  t.match(await call('echo'), { code: OK }, 'the next one is held')

  await until('it to be known', async () => (await row(alone, 'broken')).state === 'backoff')
  const refused = await call('broken')
  t.equal(refused.code, status.UNAVAILABLE)
  t.match(refused.details, /'broken' does not take calls: it is backoff: exited with code 3; next try in/)
  t.ok(refused.tookMs < 2_000, `it was told so after ${refused.tookMs} ms`)

  await must(alone, 'stop', 'echo')
  t.match(await call('echo'), { code: status.UNAVAILABLE, details: /it stays so until 'hsu start echo'/ })

  await until('it to be ready', async () => (await row(alone, 'impatient')).ready)
  await must(alone, 'stop', 'impatient')
  t.match(await call('impatient'), { code: status.UNAVAILABLE, details: /no ready endpoint/ }, 'hold: 0s')
})
