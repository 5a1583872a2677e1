import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { EventShape, UnitShape } from '../../src/cli/shapes.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { rssBytesOf, stranger } from '../support/stranger.ts'
import { until } from '../support/until.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }
const MIB = 1_024 ** 2

t.test('a third party is checked, and tells of each crossing once', { ...onLinux, timeout: 180_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  const [status, disk] = [join(home, 'status'), join(home, 'disk-is-fine')]
  writeFileSync(status, '200')
  writeFileSync(disk, '')
  const server = await stranger(t, [process.execPath, fixture('status-server.mjs'), status])
  const port = Number(server.firstLine.replace('ready ', ''))
  const ask = (path: string): Promise<unknown> => fetch(`http://127.0.0.1:${port}${path}`)
  const pace = { every: '100ms', timeout: '10s', fail: 3 }
  const memory = rssBytesOf(server.pid) + 100 * MIB
  const app = {
    kind: 'unmanaged',
    find: { port: `tcp/${port}` },
    checks: {
      port: { tcp: `127.0.0.1:${port}`, ...pace },
      page: { http: `http://127.0.0.1:${port}/health`, ...pace },
      disk: { exec: ['test', '-e', disk], ...pace },
    },
    // The use of a server that is asked ten times a second is a fifth of this, and that of one that spins many times it.
    limits: { memory: `${memory}B`, cpu: 0.25, spike: '1ms', sustained: '1ms' },
  }
  const config = { version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } }, units: { app } }
  const node = makeNode('n', { config })
  await node.start()
  await node.hsu('wait', 'app', '--for', 'ready')
  const live = node.follow('events', 'app', '-f', '-o', 'json')
  const row = async (): Promise<UnitShape> => {
    const [only] = await node.json<UnitShape>('ps', 'app')
    if (only === undefined) throw new Error('no unit app')
    return only
  }
  const health = async () => (await row()).health
  const is = (state: string) => until(state, async () => (await health())?.state === state || undefined)
  const parse = (lines: readonly string[]) => lines.filter(Boolean).map((line) => JSON.parse(line) as EventShape)
  const events = async () => parse((await node.hsu('events', 'app', '-o', 'json')).stdout.split('\n'))
  const ofType = async (pattern: RegExp) => (await events()).filter(({ type }) => pattern.test(type))

  await t.test('all is well at first', async (t) => {
    await is('healthy')
    t.match(await row(), { kind: 'unmanaged', pid: server.pid, state: 'up', ready: true, restarts: 0 })
    const checks = (await health())?.checks ?? []
    t.same(checks.map(({ check }) => check).sort(), ['disk', 'page', 'port'])
  })

  await t.test('an answer of 503 makes it degraded and then unhealthy, with counts and the message', async (t) => {
    writeFileSync(status, '503')
    await is('unhealthy')
    t.match(
      (await health())?.checks.find(({ check }) => check === 'page'),
      { state: 'unhealthy', failAfter: 3, message: /503/ },
    )
    const told = await ofType(/^unit[.](degraded|unhealthy|unready)$/)
    t.match(told, [
      { type: 'unit.degraded', details: { check: 'page', failures: '1', failAfter: '3', message: /503/ } },
      { type: 'unit.unhealthy', details: { check: 'page', failures: '3', message: /503/ } },
      { type: 'unit.unready', reason: /page.*503/ },
    ])
    t.match(await row(), { state: 'up', ready: false, reason: /page.*503/ })
    t.match((await node.hsu('describe', 'app')).stdout, /page +unhealthy +\d+\/3 .*503/)
    t.match((await node.hsu('why', 'app')).stdout, /503/)
  })

  await t.test('a good answer makes it healthy again', async (t) => {
    writeFileSync(status, '200')
    await is('healthy')
    t.match(await row(), { ready: true, reason: '' })
    t.match(await ofType(/^unit[.]healthy$/), [{ details: { check: 'page' } }])
  })

  await t.test('a command that fails counts as well', async (t) => {
    rmSync(disk)
    await is('unhealthy')
    t.match(
      (await health())?.checks.filter(({ state }) => state !== 'healthy'),
      [{ check: 'disk', message: /exit|code/ }],
    )
    writeFileSync(disk, '')
    await is('healthy')
  })

  const crossings = async (resource: string) => {
    const all = await ofType(/^unit[.]limit_(exceeded|kept)$/)
    return all.filter(({ details }) => details['resource'] === resource).map(({ type }) => type)
  }
  const count = (resource: string, wanted: number) =>
    until(
      `${wanted} crossings of ${resource}`,
      async () => (await crossings(resource)).length === wanted || undefined,
      60_000,
    )

  await t.test('each crossing of a threshold is told once, however long it lasts', async (t) => {
    await ask('/grow?200')
    await count('memory', 1)
    // Both are read at the same moments: while the processor time rises and falls, memory has been read many times.
    await ask('/spin')
    await count('cpu', 1)
    await ask('/calm')
    await count('cpu', 2)
    t.same(await crossings('memory'), ['unit.limit_exceeded'])
    t.same(await crossings('cpu'), ['unit.limit_exceeded', 'unit.limit_kept'])
    t.match(await ofType(/limit_exceeded/), [
      { reason: /over the memory limit of/, details: { limit: String(memory), action: 'alert' } },
      { reason: /over the cpu limit of 0.25 cores/ },
    ])
    await ask('/shrink')
    await count('memory', 2)
    await ask('/grow?200')
    await count('memory', 3)
    t.same(await crossings('memory'), ['unit.limit_exceeded', 'unit.limit_kept', 'unit.limit_exceeded'])
    t.match((await row()).limits, [
      { resource: 'memory', mode: 'watched' },
      { resource: 'cpu', mode: 'watched' },
    ])
  })

  await t.test('the stream of events has told the same, and the third party runs on untouched', async (t) => {
    const last = (await events()).at(-1)
    await until('the stream to be there', () => parse(live()).at(-1)?.id === last?.id || undefined)
    const since = (list: readonly EventShape[]) => list.filter(({ type }) => /limit|healthy|degraded/.test(type))
    t.same(since(parse(live())), since(await events()))
    t.ok(server.alive)
    t.match(await row(), { pid: server.pid, restarts: 0 })
  })
})
