import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { aloneConfig, meshConfig, SLEEPER } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Unit {
  readonly unit: string
  readonly node: string
  readonly state: string
  readonly ready: boolean
  readonly pid: number | null
  readonly restarts: number
  readonly reason: string
}

interface Event {
  readonly id: string
  readonly causedBy: string
  readonly unit: string
  readonly type: string
  readonly reason: string
  readonly details: Readonly<Record<string, string>>
}

const HTTP_SERVER = `require('node:http').createServer((_, answer) => answer.end('well')).listen(process.env.PORT, '127.0.0.1')`
const QUICK = { every: '100ms', timeout: '1s' }
const RESTART = { backoff: '500ms..500ms', jitter: '0%' }

const DATABASE = {
  run: [process.execPath, fixture('listen.mjs'), 'tcp', '127.0.0.1', '{port.db}'],
  ports: { db: 'auto' },
  probes: { ready: { tcp: '{port.db}', ...QUICK } },
  restart: RESTART,
}

const API = {
  run: [process.execPath, '-e', HTTP_SERVER],
  ports: { http: 'auto' },
  probes: { ready: { http: 'http://127.0.0.1:{port.http}/healthz', ...QUICK } },
}

const unitOf = async (node: SpawnedNode, name: string): Promise<Unit> => {
  const found = (await node.json<Unit>('ps')).find(({ unit }) => unit === name)
  if (found === undefined) throw new Error(`no unit ${name}`)
  return found
}

const eventsOf = async (node: SpawnedNode): Promise<Event[]> => {
  const { stdout } = await node.hsu('events', '--node', 'edge', '-n', '500', '-o', 'json')
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Event)
}

const allReady = async (node: SpawnedNode, names: readonly string[]): Promise<void> => {
  await until('all to be ready', async () => {
    const units = await node.json<Unit>('ps')
    return names.every((name) => units.some(({ unit, ready }) => unit === name && ready))
  })
}

t.test(
  'A17: a database, what stands on it, and what becomes of that when it fails',
  { timeout: 120_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const go = join(home, 'go')
    const edge = node('edge', {
      config: aloneConfig('edge', {
        agent: { ...SLEEPER, depends_on: { api: { on_fail: 'stop' } } },
        api: { ...API, depends_on: { database: { on_fail: 'restart' }, schema: { condition: 'completed' } } },
        reporter: { ...SLEEPER, depends_on: ['database'] },
        schema: { run: ['true'], restart: { policy: 'no' }, depends_on: ['database'] },
        client: { ...SLEEPER, depends_on: { cache: { condition: 'log', line: '^ready to accept' } } },
        cache: {
          run: ['sh', '-c', `while [ ! -e '${go}' ]; do sleep 0.05; done; echo ready to accept; exec sleep 600`],
        },
        database: DATABASE,
      }),
    })
    await edge.start()
    await allReady(edge, ['database', 'api', 'agent', 'reporter', 'cache'])

    await t.test('each starts when what it depends on is as far as it must be', async (t) => {
      const events = await eventsOf(edge)
      const at = (unit: string, type: string): number => {
        const index = events.findIndex((event) => event.unit === unit && event.type === `unit.${type}`)
        if (index < 0) throw new Error(`no ${type} of ${unit}`)
        return index
      }
      t.ok(at('database', 'ready') < at('schema', 'started'))
      t.ok(at('database', 'ready') < at('reporter', 'started'))
      t.ok(at('schema', 'completed') < at('api', 'started'))
      t.ok(at('api', 'ready') < at('agent', 'started'))
      t.match(events[at('api', 'waiting')], {
        reason: "waits for 'database' to be healthy",
        details: { for: 'database' },
      })
    })

    await t.test('a line in the output is waited for', async (t) => {
      t.match(await unitOf(edge, 'client'), {
        state: 'down',
        reason: "waits for 'cache' to write a line like /^ready to accept/; it is up",
      })
      writeFileSync(go, '')
      await allReady(edge, ['client'])
    })

    await t.test('a failing database marks, restarts and stops those above it, as each wants it', async (t) => {
      const [reporter, api, agent] = await Promise.all(['reporter', 'api', 'agent'].map((name) => unitOf(edge, name)))
      const seen = new Set((await eventsOf(edge)).map(({ id }) => id))
      const { pid } = await unitOf(edge, 'database')
      process.kill(pid ?? 0, 'SIGKILL')
      await until('the agent to be there again', async () => {
        const now = await unitOf(edge, 'agent')
        return now.ready && now.pid !== agent?.pid
      })
      t.equal((await unitOf(edge, 'reporter')).pid, reporter?.pid)
      t.match(await unitOf(edge, 'api'), { restarts: (api?.restarts ?? 0) + 1, ready: true })
      const events = (await eventsOf(edge)).filter(({ id }) => !seen.has(id))
      const byId = new Map(events.map((event) => [event.id, event]))
      const find = (unit: string, type: string): Event => {
        const found = events.find((event) => event.unit === unit && event.type === `unit.${type}`)
        if (found === undefined) throw new Error(`no ${type} of ${unit}`)
        return found
      }
      const causeOf = (unit: string, type: string): string => {
        const cause = byId.get(find(unit, type).causedBy)
        return `${cause?.unit ?? ''} ${cause?.type ?? ''}`
      }
      t.match(find('reporter', 'dependency_lost'), {
        reason: /^'database' is no longer healthy; it is /,
        details: { for: 'database', on_fail: 'keep' },
      })
      t.match(causeOf('reporter', 'dependency_lost'), /^database unit\./)
      t.equal(causeOf('api', 'dependency_back'), 'database unit.ready')
      t.equal(causeOf('api', 'stopping'), 'api unit.dependency_back')
      t.match(causeOf('agent', 'dependency_lost'), /^api unit\./)
      t.equal(causeOf('agent', 'stopping'), 'agent unit.dependency_lost')
      t.equal(causeOf('agent', 'started'), 'api unit.ready')
      const index = (event: Event): number => events.indexOf(event)
      t.ok(index(find('database', 'ready')) < index(find('api', 'stopping')), 'not before the database is back')
      t.match((await edge.hsu('why', 'agent')).stdout, /database/)
    })

    await t.test('hsu down stops each after those that stand on it', async (t) => {
      t.equal((await edge.hsu('down')).code, 0)
      await edge.ended()
      const lines = edge.log.split('\n')
      const last = (unit: string, type: string): number =>
        lines.findLastIndex((line) => line.includes(`unit.${type} `) && line.includes(` ${unit}-0-`))
      for (const [above, below] of [
        ['agent', 'api'],
        ['api', 'database'],
        ['reporter', 'database'],
        ['client', 'cache'],
      ] as const) {
        t.ok(last(above, 'exited') > 0)
        t.ok(last(above, 'exited') < last(below, 'stopping'), `${above} before ${below}`)
      }
      t.same(processesOf(home), [])
    })
  },
)

t.test('A17: a circle is refused before anything starts, and names its units', async (t) => {
  const { node } = nodeHome(t)
  const units = {
    api: { ...SLEEPER, depends_on: ['db'] },
    db: { ...SLEEPER, depends_on: { cache: { condition: 'started' } } },
    cache: { ...SLEEPER, depends_on: ['api'] },
  }
  const edge = node('edge', { config: aloneConfig('edge', units) })
  for (const command of [['config', 'validate'], ['up']]) {
    const { code, stderr } = await edge.hsu(...command, '-f', edge.configFile)
    t.equal(code, 2)
    t.match(stderr, /units\.api\.depends_on: goes in a circle: api -> db -> cache -> api/)
  }
})

t.test('A17: a dependency may run on another node', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const api = { ...SLEEPER, depends_on: { database: { scope: 'mesh', on_fail: 'stop' } } }
  const edge = node('edge', { config: meshConfig('edge', keyFile, { api }) })
  const store = node('store', { config: meshConfig('store', keyFile, { database: DATABASE }) })
  const apiIs = (what: string, is: (unit: Unit) => boolean): Promise<Unit> =>
    until(`the api to be ${what}`, async () => {
      const unit = await unitOf(edge, 'api')
      return is(unit) && unit
    })
  await edge.start()
  t.equal((await unitOf(edge, 'api')).reason, "waits for 'database' on any node to be healthy; no node has it")

  await store.start()
  const first = await apiIs('up', ({ ready }) => ready)

  await edge.kill()
  await edge.start()
  await until('the nodes to know each other again', async () =>
    (await edge.json<Unit>('ps')).some(({ unit, ready }) => unit === 'database' && ready),
  )
  t.equal((await unitOf(edge, 'api')).pid, first.pid, 'a node that does not know the others yet stops nothing')

  process.kill((await unitOf(store, 'database')).pid ?? 0, 'SIGKILL')
  const second = await apiIs('up again', ({ ready, pid }) => ready && pid !== first.pid)
  const lost = (await eventsOf(edge)).filter(({ type }) => type === 'unit.dependency_lost')
  t.match(lost, [{ unit: 'api', reason: /^'database' is no longer healthy; it is .* on store$/ }])

  await store.kill()
  t.match(await apiIs('stopped with the node', ({ state }) => state === 'down'), {
    reason: "waits for 'database' on any node to be healthy; no node has it",
  })
  await store.start()
  t.not((await apiIs('up once more', ({ ready }) => ready)).pid, second.pid)
  for (const each of [edge, store]) {
    t.equal((await each.hsu('down')).code, 0)
    await each.ended()
  }
  t.same(processesOf(home), [])
})
