import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { processHostContract } from '../../contract/process-host.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimHost } from '../../../src/sim/sim-host.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { World } from '../../support/sim-world.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { unitSpec } from '../../support/unit-spec.ts'
import { until } from '../../support/until.ts'

const never = new AbortController().signal

t.test('the simulated host keeps the contract', async (t) => {
  await processHostContract(t, () => {
    const host = new SimHost()
    host.play(({ argv }) => {
      if (argv[0] === 'absent') return { fault: 'no such file' }
      if (argv[0] === 'fails') return { exitsAtOnce: { code: 3 } }
      return { helpers: argv[0] === 'forks' ? 1 : 0, daemons: argv[0] === 'daemonizes' ? 1 : 0 }
    })
    let count = 0
    const request = (program: string) => () => ({
      unit: 'sample',
      directory: `/run/sample/0/${(count += 1)}`,
      argv: [program],
      cwd: '/',
      env: {},
      user: undefined,
    })
    const requests = {
      runs: request('runs'),
      fails: request('fails'),
      missing: request('absent'),
      forks: request('forks'),
      daemonizes: request('daemonizes'),
    }
    return { host, requests }
  })
})

const run = ['/bin/serve']

t.test('a unit without probes is ready as soon as it runs, with the environment it should have', async (t) => {
  const world = new World(t)
  const unit = unitSpec(
    'api',
    {
      run: ['./api', '--port', '{port.grpc}'],
      env: { WHO: '{unit.instance}' },
      ports: { grpc: 'auto', web: 8080 },
      replicas: 2,
    },
    '/etc/app',
  )
  const { supervisor, events } = await world.supervise([unit], {
    environmentOf: ({ kind }) => ({ HSU_NODE: 'a', KIND: kind }),
  })
  const [first, second] = supervisor.status()
  t.match(first, {
    state: 'up',
    ready: true,
    replica: 0,
    restarts: 0,
    startedAtMs: world.clock.wallMs(),
    exit: undefined,
    reason: '',
  })
  t.match(first?.instance, /^api-0-[0-9a-f]{6}$/)
  t.not(first?.ports['grpc'], second?.ports['grpc'], 'no port is given to two')
  t.same(world.host.spawned[0], {
    unit: 'api',
    directory: `/run/hsu/api/0/${first?.instance}`,
    argv: ['./api', '--port', String(first?.ports['grpc'])],
    cwd: '/etc/app',
    env: {
      PYTHONUNBUFFERED: '1',
      PATH: '/usr/bin:/bin',
      HSU_UNIT: 'api',
      HSU_INSTANCE: first?.instance,
      HSU_REPLICA: '0',
      HSU_PORT_GRPC: String(first?.ports['grpc']),
      HSU_PORT_WEB: '8080',
      PORT: String(first?.ports['grpc']),
      HSU_INSTANCE_DIR: `/run/hsu/api/0/${first?.instance}`,
      HSU_NODE: 'a',
      KIND: 'managed',
      WHO: first?.instance,
    },
    user: undefined,
  })
  t.same(
    events.map(({ type }) => type),
    ['unit.started', 'unit.ready', 'unit.started', 'unit.ready'],
  )
})

t.test('a crashed unit is restarted after its backoff, keeps its port and counts', async (t) => {
  const world = new World(t)
  const unit = unitSpec('api', { run, ports: { http: 'auto' }, restart: { backoff: '500ms..60s', jitter: '0%' } })
  const watched = await world.supervise([unit])
  const before = watched.status('api')
  await watched.crash('api', 3)
  t.match(watched.status('api'), {
    state: 'backoff',
    ready: false,
    exit: { code: 3 },
    reason: 'exited with code 3',
    pid: undefined,
  })
  await watched.pass(490)
  t.equal(watched.status('api').state, 'backoff')
  await watched.pass(20)
  t.match(watched.status('api'), { state: 'up', restarts: 1, exit: undefined, ports: before.ports })
  t.not(watched.status('api').instance, before.instance)
  const [exited, backoff] = watched.events.slice(2)
  t.match(exited, { type: 'unit.exited', instance: before.instance, details: { code: '3' } })
  t.match(backoff, { type: 'unit.backoff', reason: 'restart in 500ms', cause: 'exited with code 3' })
})

t.test('a unit that crashes too often is failed, is tried again later, and a person can start it before', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ exitsAtOnce: { code: 1 } }))
  const restart = { backoff: '10ms..10ms', jitter: '0%', give_up: '3/1m', then: 'retry 10m' }
  const watched = await world.supervise([unitSpec('api', { run, restart })])
  await watched.pass(200)
  t.equal(world.host.spawned.length, 3)
  t.match(watched.status('api'), { state: 'failed', reason: 'exited with code 1' })
  t.match(watched.events.at(-1), { type: 'unit.failed', details: { waitMs: '600000' } })
  await watched.pass(600_000, 10_000)
  t.equal(world.host.spawned.length, 4, 'one trial')
  t.equal(watched.status('api').state, 'failed')
  world.host.play(() => ({}))
  await watched.supervisor.startUnit('api', never)
  t.match(watched.status('api'), { state: 'up', ready: true })
})

t.test('a job that exits 0 is completed, and is run again when asked', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('job', { run })])
  await watched.crash('job', 0)
  t.match(watched.status('job'), { state: 'completed', exit: { code: 0 } })
  await watched.supervisor.startUnit('job', never)
  t.match(watched.status('job'), { state: 'up', restarts: 0 })
})

t.test('a program that cannot be run fails its unit alone', async (t) => {
  const world = new World(t)
  world.host.play(({ unit }) => (unit === 'bad' ? { fault: 'no such file' } : {}))
  const watched = await world.supervise([unitSpec('bad', { run }), unitSpec('good', { run })])
  t.same(watched.states(), { bad: 'failed', good: 'up ready' })
  t.match(watched.status('bad').reason, /no such file/)
  await throwsReason(t, 'SPAWN_FAILED', () => watched.supervisor.startUnit('bad', never))
  await throwsReason(t, 'UNIT_NOT_FOUND', () => watched.supervisor.startUnit('nobody', never))
})

t.test('stop: drain, signal to the group, grace, kill; nothing is left', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ ignores: ['SIGINT'], helpers: 2, daemons: 1 }))
  const drained: string[] = []
  const watched = await world.supervise(
    [unitSpec('api', { run, stop: { signal: 'INT', grace: '2s', drain: '300ms' } })],
    {
      drain: async (unit, _instance, signal) => {
        drained.push(unit)
        await world.clock.sleep(1_000_000, signal)
      },
    },
  )
  const stopping = watched.supervisor.stopUnit('api', never)
  await watched.pass(0)
  t.match(watched.status('api'), { state: 'stopping', ready: false })
  t.same(world.host.signals, [], 'first the callers turn away')
  await watched.pass(300)
  t.same(world.host.signals, ['SIGINT main', 'SIGINT helper', 'SIGINT helper'])
  await watched.pass(1_990)
  t.equal(watched.status('api').state, 'stopping')
  await watched.pass(50)
  await stopping
  t.same(world.host.signals.slice(3).sort(), ['SIGKILL daemon', 'SIGKILL helper', 'SIGKILL helper', 'SIGKILL main'])
  t.equal(world.host.population, 0)
  t.match(watched.status('api'), { state: 'down', exit: { signal: 'SIGKILL' } })
  t.same(drained, ['api'])
  t.same(watched.typesOf('api').slice(2), ['stopping', 'exited', 'down'])
})

t.test('a stop command asks first; the signal follows when it has ended, the kill when the grace has', async (t) => {
  const world = new World(t)
  const ran: { argv: readonly string[]; env: Readonly<Record<string, string>> }[] = []
  let answer = { exit: { code: 0 }, stdout: '' }
  world.host.run = async (argv, { env = {} }) => {
    ran.push({ argv, env })
    return answer
  }
  world.host.play(() => ({ ignores: ['SIGTERM'] }))
  const stop = { command: ['./ask', '{unit.instance}'], grace: '2s', drain: '0ms' }
  const watched = await world.supervise([unitSpec('api', { run, stop })])
  const { pid, instance } = watched.status('api')
  const stopping = watched.supervisor.stopUnit('api', never)
  await watched.pass(1_990)
  t.match(ran, [{ argv: ['./ask', instance], env: { HSU_PID: String(pid), HSU_UNIT: 'api' } }])
  t.notOk('HSU_INSTANCE_DIR' in (ran[0]?.env ?? {}), 'it is not killed with the unit')
  t.same(world.host.signals, ['SIGTERM main'])
  await watched.pass(100)
  t.match(await stopping, [{ unit: 'api', instance, exit: { signal: 'SIGKILL' } }])

  answer = { exit: { code: 3 }, stdout: 'no such server\n' }
  world.host.play(() => ({}))
  await watched.supervisor.startUnit('api', never)
  const again = watched.supervisor.stopUnit('api', never)
  await watched.pass(2_100)
  await again
  t.match(
    watched.log.entries.find(({ message }) => message === 'stop command failed'),
    { fields: { cause: './ask: exited with code 3: no such server' } },
  )
})

t.test('fifty restarts at once are one restart', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run })])
  const ask = (): Promise<void> => watched.supervisor.restartUnit('api', new AbortController().signal)
  const restarts = Promise.all(Array.from({ length: 50 }, ask))
  await watched.pass(100)
  await restarts
  t.equal(world.host.spawned.length, 2)
  t.equal(world.host.pidsOf('api').length, 1)
  t.match(watched.status('api'), { state: 'up', restarts: 1 })
})

t.test('a restart asked for while the next start is under way joins it', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run })])
  let open = (): void => undefined
  world.host.gate = new Promise((resolve) => {
    open = resolve
  })
  const first = watched.supervisor.restartUnit('api', never)
  await watched.pass(100)
  t.equal(world.host.spawned.length, 2, 'the start is under way')
  const second = watched.supervisor.restartUnit('api', never)
  open()
  await watched.pass(100)
  await Promise.all([first, second])
  t.equal(world.host.spawned.length, 2)
  t.match(watched.status('api'), { state: 'up', restarts: 1 })
})

t.test('a stop that fails for a reason that passes is tried again, and says so', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run })])
  world.host.tableFaults = 2
  const stopping = watched.supervisor.stopUnit('api', never)
  await watched.pass(20_000, 100)
  await stopping
  t.match(watched.status('api'), { state: 'down', pid: undefined })
  t.equal(world.host.population, 0)
  t.ok(
    watched.log.entries.some(({ level, message }) => level === 'error' && message.startsWith('unit cannot be stopped')),
  )
})

t.test('any mix of start, stop, restart, kill and crash ends as the last wish has it', async (t) => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const world = new World(t)
    const watched = await world.supervise([
      unitSpec('api', { run, restart: { backoff: '5ms..5ms', give_up: '1000/1m' } }),
    ])
    const random = seeded(seed)
    const wishes: Promise<unknown>[] = []
    for (let count = 0; count < 30; count += 1) {
      const choice = Math.floor(random.next() * 5)
      const { supervisor } = watched
      if (choice === 0) wishes.push(supervisor.startUnit('api', never).catch(() => undefined))
      if (choice === 1) wishes.push(Promise.race([supervisor.stopUnit('api', never), world.clock.sleep(60_000)]))
      if (choice === 2) wishes.push(supervisor.restartUnit('api', never).catch(() => undefined))
      if (choice === 3) wishes.push(supervisor.killUnit('api'))
      if (choice === 4) for (const pid of world.host.pidsOf('api')) world.host.exit(pid, { code: 1 })
      await watched.pass(Math.floor(random.next() * 20), 5)
      t.ok(world.host.pidsOf('api').length <= 1, 'never two at once')
    }
    const last = seed % 2 === 0 ? watched.supervisor.startUnit('api', never) : watched.supervisor.stopUnit('api', never)
    await watched.pass(500)
    await last
    t.equal(world.host.pidsOf('api').length, seed % 2 === 0 ? 1 : 0, `seed ${seed}`)
    t.equal(watched.status('api').state, seed % 2 === 0 ? 'up' : 'down', `seed ${seed}`)
  }
})

t.test('units start after those they depend on, and stop before them', async (t) => {
  const world = new World(t)
  const units = [
    unitSpec('web', { run, depends_on: ['api'] }),
    unitSpec('api', { run, depends_on: { db: { condition: 'healthy' }, schema: { condition: 'completed' } } }),
    unitSpec('schema', { run, depends_on: { db: { condition: 'started' } } }),
    unitSpec('db', { run, probes: { ready: { exec: ['check'], every: '1s' } } }),
  ]
  let healthy = false
  Object.assign(world.host, { run: async () => ({ exit: { code: healthy ? 0 : 1 }, stdout: '' }) })
  const watched = await world.supervise(units)
  t.same(watched.states(), { db: 'starting', schema: 'up ready', api: 'down', web: 'down' })
  t.match(watched.status('api').reason, /waits for 'db' to be healthy; it is starting/)
  t.match(watched.status('web').reason, /waits for 'api' to be healthy; it is down: waits for 'db'/)
  healthy = true
  await watched.pass(200)
  t.match(watched.status('api').reason, /waits for 'schema' to be completed; it is up/)
  await watched.crash('schema', 0)
  t.same(watched.states(), { db: 'up ready', schema: 'completed', api: 'up ready', web: 'up ready' })
  const stopping = watched.supervisor.stop()
  await watched.pass(200)
  await stopping
  const ends = watched.events.filter(({ type }) => type === 'unit.stopping' || type === 'unit.exited')
  t.same(
    ends.map(({ unit, type }) => `${unit} ${type}`),
    [
      'schema unit.exited',
      'web unit.stopping',
      'web unit.exited',
      'api unit.stopping',
      'api unit.exited',
      'db unit.stopping',
      'db unit.exited',
    ],
  )
  t.equal(world.host.population, 0)
})

t.test('a dependency that never comes is named, and still waited for', async (t) => {
  const world = new World(t)
  const units = [
    unitSpec('lone', { run, depends_on: ['nobody'] }),
    unitSpec('far', { run, depends_on: { db: { scope: 'mesh' } } }),
    unitSpec('late', { run, depends_on: { manual: { condition: 'started', timeout: '5s' } } }),
    unitSpec('manual', { run, activation: 'manual' }),
  ]
  const watched = await world.supervise(units)
  t.match(watched.status('lone').reason, "waits for 'nobody', which is not a unit of this node")
  t.match(watched.status('far').reason, "waits for 'db' on any node to be healthy; no node has it")
  await watched.pass(5_000, 500)
  t.match(watched.status('late').reason, "waits for 'manual' to be started, for more than 5s; it is down")
  await watched.supervisor.startUnit('manual', never)
  await watched.pass(0)
  t.equal(watched.status('late').state, 'up')
  await throwsReason(t, 'CONFIG_INVALID', () =>
    watched.supervisor.apply([unitSpec('a', { run, depends_on: ['b'] }), unitSpec('b', { run, depends_on: ['a'] })]),
  )
})

t.test('a start that is not ready in time is killed, with the reason told', async (t) => {
  const world = new World(t)
  Object.assign(world.host, { run: async () => ({ exit: { code: 1 }, stdout: '' }) })
  const probes = { start: { within: '3s' }, ready: { exec: ['check'], every: '1s' } }
  const watched = await world.supervise([unitSpec('api', { run, probes, restart: { policy: 'no' } })])
  await watched.pass(2_900, 100)
  t.equal(watched.status('api').state, 'starting')
  await watched.pass(200, 100)
  t.match(watched.status('api'), { state: 'failed', reason: 'not ready within 3s', exit: { signal: 'SIGKILL' } })
})

t.test('readiness comes and goes without a restart; a failing liveness probe restarts', async (t) => {
  const world = new World(t)
  const answers = { ready: true, live: true }
  Object.assign(world.host, {
    run: async (argv: readonly string[]) => ({
      exit: { code: answers[argv[0] as 'ready' | 'live'] ? 0 : 1 },
      stdout: 'because',
    }),
  })
  const every = { every: '1s', fail: 2 } as const
  const probes = { ready: { exec: ['ready'], ...every }, live: { exec: ['live'], ...every } }
  const watched = await world.supervise([
    unitSpec('api', { run, probes, restart: { backoff: '1s..1s', jitter: '0%' } }),
  ])
  await watched.pass(1_500, 100)
  t.equal(watched.states()['api'], 'up ready')
  answers.ready = false
  await watched.pass(2_500, 100)
  t.match(watched.status('api'), { state: 'up', ready: false, restarts: 0 })
  t.match(watched.status('api').reason, /because/)
  answers.ready = true
  await watched.pass(1_500, 100)
  t.equal(watched.states()['api'], 'up ready')
  answers.live = false
  await watched.pass(2_500, 100)
  t.match(watched.events.find(({ type }) => type === 'unit.backoff')?.cause, /liveness probe failed: .*because/)
  answers.live = true
  await watched.pass(1_500, 100)
  t.match(watched.status('api'), { state: 'up', ready: true, restarts: 1 })
})

t.test('an integrated unit is ready when it answers gRPC on its own port', async (t) => {
  const world = new World(t)
  const asked: string[] = []
  let answers = false
  const watched = await world.supervise(
    [unitSpec('echo', { kind: 'integrated', run, ports: { web: 'auto', grpc: 'auto' } })],
    {
      grpc: {
        async check(address, what) {
          asked.push(`${address} ${what}`)
          return answers
        },
      },
    },
  )
  await watched.pass(300)
  const { ports, state } = watched.status('echo')
  t.equal(state, 'starting')
  answers = true
  await watched.pass(200)
  t.equal(watched.states()['echo'], 'up ready')
  t.same([...new Set(asked)], [`127.0.0.1:${ports['grpc']} ladder`])
})

t.test('the set of units follows the configuration', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([
    unitSpec('stays', { run }),
    unitSpec('goes', { run }),
    unitSpec('changes', { run }),
  ])
  const before = watched.status('stays').instance
  const changed = unitSpec('changes', { run: ['/bin/other'] })
  const applied = watched.supervisor.apply([
    unitSpec('stays', { run, stop: { grace: '3s' } }),
    changed,
    unitSpec('new', { run }),
  ])
  await watched.pass(100)
  await applied
  await watched.pass(100)
  t.same(watched.states(), { stays: 'up ready', changes: 'up ready', new: 'up ready' })
  t.equal(watched.status('stays').instance, before, 'what needs no new process gets none')
  t.equal(world.host.spawned.findLast(({ unit }) => unit === 'changes')?.argv[0], '/bin/other')
  t.same(world.host.pidsOf('goes'), [])
  t.same(
    [...world.disk.keys()].filter((key) => key.includes('goes')),
    [],
  )
})

t.test('scaling adds and removes replicas, and outlives the node until the configured number changes', async (t) => {
  const world = new World(t)
  const unit = unitSpec('api', { run, ports: { http: 'auto' } })
  const first = await world.supervise([unit])
  await first.supervisor.scaleUnit('api', 3, never)
  await first.pass(0)
  t.equal(world.host.pidsOf('api').length, 3)
  await first.supervisor.abandon()
  const second = await world.supervise([unit])
  t.equal(second.supervisor.status().length, 3)
  const shrinking = second.supervisor.scaleUnit('api', 1, never)
  await second.pass(100)
  await shrinking
  t.equal(world.host.pidsOf('api').length, 1)
  await throwsReason(t, 'USAGE', () => second.supervisor.scaleUnit('api', -1, never))
})

t.test('the next supervisor adopts: same pids, no second copy, ends learnt, wishes kept', async (t) => {
  const world = new World(t)
  const restart = { backoff: '10ms..10ms' }
  const units = ['runs', 'crashed', 'done', 'stopped', 'waits'].map((name) =>
    unitSpec(name, { run, ports: { http: 'auto' }, restart }),
  )
  const first = await world.supervise(units)
  await first.supervisor.stopUnit('stopped', never)
  const slow = unitSpec('waits', { run, ports: { http: 'auto' }, restart: { backoff: '5s..5s', jitter: '0%' } })
  await first.supervisor.apply([...units.slice(0, 4), slow])
  await first.crash('waits', 1)
  await first.supervisor.abandon()
  const pidOf = (unit: string): number => world.host.pidsOf(unit)[0] as number
  const pid = pidOf('runs')
  world.host.exit(pidOf('crashed'), { code: 5 })
  world.host.exit(pidOf('done'), { code: 0 })
  const starts = world.host.spawned.length

  const second = await world.supervise([...units.slice(0, 4), slow])
  t.match(second.status('runs'), {
    pid,
    state: 'up',
    ready: true,
    restarts: 0,
    ports: first.status('runs').ports,
    instance: first.status('runs').instance,
  })
  t.equal(second.status('done').state, 'completed')
  t.match(second.status('stopped'), { state: 'down' }, 'what a person stopped stays down')
  t.match(second.status('waits'), { state: 'backoff' })
  await second.pass(50)
  t.match(second.status('crashed'), { state: 'up', restarts: 1 })
  t.match(
    second.events.find(({ unit, type }) => unit === 'crashed' && type === 'unit.exited'),
    { details: { code: '5' } },
  )
  t.equal(world.host.spawned.length, starts + 1, 'exactly the crashed one was started')
  t.equal(world.host.pidsOf('runs').length, 1)
  await second.pass(5_000, 100)
  t.match(second.status('waits'), { state: 'up', restarts: 1 })

  await second.crash('runs', 2)
  await second.pass(50)
  t.match(second.status('runs'), { state: 'up', restarts: 1 }, 'the end of an adopted one is seen')
})

t.test('an adopted unit whose configuration changed is restarted; one no longer configured is stopped', async (t) => {
  const world = new World(t)
  const first = await world.supervise([unitSpec('api', { run }), unitSpec('old', { run })])
  await first.supervisor.abandon()
  const second = await world.supervise([unitSpec('api', { run: ['/bin/new'] })])
  await second.pass(100)
  t.match(second.status('api'), { state: 'up', restarts: 1 })
  t.same(second.typesOf('api'), ['adopted', 'ready', 'stopping', 'exited', 'started', 'ready'])
  t.equal(world.host.population, 2, 'one program and its leader')
  t.same(
    [...world.disk.keys()].filter((key) => key.includes('old')),
    [],
  )
})

t.test(
  'adopted replicas whose configuration changed are replaced in turn, and runs of a job are left alone',
  async (t) => {
    const world = new World(t)
    const terms = { job: {} }
    const first = await world.supervise([unitSpec('api', { run, replicas: 3 }), unitSpec('nightly', { run, ...terms })])
    await first.supervisor.startUnit('nightly', never)
    await first.supervisor.abandon()
    const changed = [
      unitSpec('api', { run: ['/bin/new'], replicas: 3 }),
      unitSpec('nightly', { run: ['/bin/new'], ...terms }),
    ]
    const second = await world.supervise(changed)
    await second.pass(500)
    const turns = second.typesOf('api').filter((type) => ['stopping', 'started'].includes(type))
    t.same(turns, ['stopping', 'started', 'stopping', 'started', 'stopping', 'started'], 'one at a time')
    t.notOk(second.typesOf('nightly').includes('stopping'), 'a run goes on with what it was started with')
  },
)

t.test('a recycled pid is never signalled nor taken for the unit', async (t) => {
  const world = new World(t)
  const unit = unitSpec('api', { run, restart: { backoff: '10ms..10ms' } })
  const first = await world.supervise([unit])
  const pid = first.status('api').pid as number
  await first.supervisor.abandon()
  world.host.exit(pid, { code: 1 })
  world.host.recycle(pid)
  const second = await world.supervise([unit])
  await second.pass(50)
  t.not(second.status('api').pid, pid)
  t.ok(await world.host.table.get(pid), 'the stranger lives')
  t.same(world.host.signals, [])
})

t.test('after the host was started anew everything starts afresh, without a crash on its account', async (t) => {
  const world = new World(t)
  const units = [unitSpec('api', { run }), unitSpec('held', { run, restart: { policy: 'unless-stopped' } })]
  const first = await world.supervise(units)
  await first.supervisor.stopUnit('held', never)
  await first.supervisor.abandon()
  world.host.reboot()
  const second = await world.supervise(units)
  t.match(second.status('api'), { state: 'up', restarts: 0 })
  t.equal(second.status('held').state, 'down', 'unless-stopped remembers')
})

t.test('an orderly stop forgets what was stopped by hand, save with unless-stopped', async (t) => {
  const world = new World(t)
  const units = (['on-failure', 'unless-stopped'] as const).map((policy) =>
    unitSpec(policy, { run, restart: { policy } }),
  )
  const first = await world.supervise([...units, unitSpec('runs', { run, restart: { policy: 'unless-stopped' } })])
  for (const { name } of units) await first.supervisor.stopUnit(name, never)
  const stopping = first.supervisor.stop()
  await first.pass(100)
  await stopping
  const second = await world.supervise([...units, unitSpec('runs', { run, restart: { policy: 'unless-stopped' } })])
  t.same(second.states(), { 'on-failure': 'up ready', 'unless-stopped': 'down', runs: 'up ready' })
})

t.test('an instance that was started but never written down is ended, not doubled', async (t) => {
  const world = new World(t)
  const first = await world.supervise([unitSpec('api', { run })])
  await first.supervisor.abandon()
  world.disk.clear()
  const second = await world.supervise([unitSpec('api', { run })])
  t.equal(world.host.population, 2, 'one program and its leader')
  t.equal(second.status('api').pid, world.host.pidsOf('api')[0])
  t.equal(world.host.spawned.length, 2)
})

t.test('signals reach the program; an unmanaged unit is only touched when that is allowed', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ ignores: ['SIGHUP'] }))
  const seen = await world.supervise([
    unitSpec('api', { run }),
    unitSpec('idle', { run, activation: 'manual' }),
    unitSpec('shy', { kind: 'unmanaged', find: { name: 'main' } }),
    unitSpec('open', { kind: 'unmanaged', find: { name: 'main' }, allow: { signal: true } }),
  ])
  const { supervisor } = seen
  await seen.pass(0)
  await supervisor.signalUnit('api', 'hup')
  t.same(world.host.signals, ['SIGHUP main'])
  await throwsReason(t, 'USAGE', () => supervisor.signalUnit('api', 'SIGNONE'))
  await throwsReason(t, 'NOT_STARTED', () => supervisor.signalUnit('idle', 'HUP'))
  await throwsReason(t, 'UNIT_NOT_MANAGED', () => supervisor.stopUnit('shy', never))
  await throwsReason(t, 'NOT_PERMITTED', () => supervisor.signalUnit('shy', 'TERM'))
  await throwsReason(t, 'NOT_PERMITTED', () => supervisor.killUnit('shy'))
  t.match(seen.status('open'), { state: 'up', ready: true, pid: world.host.pidsOf('api')[0], kind: 'unmanaged' })
  await supervisor.signalUnit('open', 'HUP')
  t.same(world.host.signals, ['SIGHUP main', 'SIGHUP main'])
  await seen.crash('api', 0)
  await seen.pass(3_000, 100)
  t.match(seen.status('open'), { state: 'absent', pid: undefined })
  t.same(seen.typesOf('open'), ['found', 'ready', 'lost'])
})

t.test('what this host cannot do is said once', async (t) => {
  const world = new World(t)
  const unit = unitSpec('api', { run, limits: { memory: '64MiB' } })
  const watched = await world.supervise([unit])
  await watched.supervisor.apply([unit])
  const warnings = watched.log.entries.filter(({ level }) => level === 'warn').map(({ message }) => message)
  t.same(warnings, ['limit cannot be enforced on this host, only watched'])
  t.equal(watched.status('api').state, 'up')
})

t.test('an end met by a fault that passes is an end all the same', async (t) => {
  const world = new World(t)
  const unit = unitSpec('api', { run, restart: { backoff: '5s..5s', jitter: '0%' } })
  const watched = await world.supervise([unit])
  world.host.tableFaults = 1
  await watched.crash('api', 3)
  await watched.pass(1_100, 100)
  t.match(watched.status('api'), { state: 'backoff', ready: false, exit: { code: 3 }, pid: undefined })
  await watched.pass(5_000, 100)
  t.match(watched.status('api'), { state: 'up', restarts: 1 })
})

t.test('a start that is late is killed though the first attempt fails', async (t) => {
  const world = new World(t)
  Object.assign(world.host, { run: async () => ({ exit: { code: 1 }, stdout: '' }) })
  const probes = { start: { within: '3s' }, ready: { exec: ['check'], every: '1s' } }
  const watched = await world.supervise([unitSpec('api', { run, probes, restart: { policy: 'no' } })])
  await watched.pass(2_900, 100)
  world.host.tableFaults = 1
  await watched.pass(1_400, 100)
  t.match(watched.status('api'), { state: 'failed', reason: 'not ready within 3s' })
  t.equal(world.host.population, 0)
})

t.test('a stop does not wait for ever for the news of an end that never comes', async (t) => {
  const world = new World(t)
  const spawn = world.host.spawn.bind(world.host)
  Object.assign(world.host, {
    spawn: async (request: Parameters<typeof spawn>[0]) => ({
      ...(await spawn(request)),
      exited: new Promise(() => undefined),
    }),
  })
  const watched = await world.supervise([unitSpec('api', { run, stop: { grace: '2s' } })])
  const stopping = watched.supervisor.stopUnit('api', never)
  await watched.pass(4_000, 100)
  t.match(watched.status('api'), { state: 'down', pid: undefined })
  await stopping
})

t.test('scaling down goes on to its end though whoever asked turned away', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ ignores: ['SIGTERM'] }))
  const watched = await world.supervise([unitSpec('api', { run, replicas: 2, stop: { grace: '2s' } })])
  const asking = new AbortController()
  const shrinking = watched.supervisor.scaleUnit('api', 1, asking.signal)
  const refused = t.rejects(shrinking, { message: 'enough' })
  await watched.pass(1_000, 100)
  asking.abort(new Error('enough'))
  await watched.pass(0)
  await refused
  const growing = watched.supervisor.scaleUnit('api', 2, never)
  await watched.pass(2_000, 100)
  await growing
  await watched.pass(0)
  t.equal(world.host.pidsOf('api').length, 2, 'none is orphaned, none runs twice')
  t.equal(watched.supervisor.status().length, 2)
  await t.rejects(watched.supervisor.scaleUnit('api', 1, asking.signal), { message: 'enough' })
  t.equal(watched.supervisor.status().length, 2, 'who turned away before is not heard')
})

t.test('a dependency is late by a clock that runs, too', async (t) => {
  const world = new World(t)
  let looks = 0
  const clock = {
    nowMs: () => world.clock.nowMs() + (looks += 1) / 1_000,
    wallMs: () => world.clock.wallMs(),
    sleep: (ms: number, signal?: AbortSignal) => world.clock.sleep(ms, signal),
  }
  const units = [
    unitSpec('late', { run, depends_on: { manual: { condition: 'started', timeout: '5s' } } }),
    unitSpec('manual', { run, activation: 'manual' }),
  ]
  const watched = await world.supervise(units, { clock })
  await watched.pass(5_100, 100)
  t.match(watched.status('late').reason, "waits for 'manual' to be started, for more than 5s; it is down")
})

t.test('liveness is not asked before the instance was ready once', async (t) => {
  const world = new World(t)
  let isReady = false
  let isAlive = false
  Object.assign(world.host, {
    run: async (argv: readonly string[]) => ({
      exit: { code: (argv[0] === 'ready' ? isReady : isAlive) ? 0 : 1 },
      stdout: '',
    }),
  })
  const probes = {
    start: { within: '30s' },
    ready: { exec: ['ready'], every: '1s' },
    live: { exec: ['live'], every: '1s', fail: 2 },
  }
  const unit = unitSpec('api', { run, probes })
  const first = await world.supervise([unit])
  await first.pass(20_000, 100)
  t.match(first.status('api'), { state: 'starting', restarts: 0 })
  t.equal(world.host.spawned.length, 1)
  isReady = isAlive = true
  await first.pass(2_000, 100)
  t.equal(first.states()['api'], 'up ready')
  await first.supervisor.abandon()
  isReady = isAlive = false
  const second = await world.supervise([unit])
  await second.pass(1_500, 100)
  t.match(second.events.map(({ cause }) => cause).join(), 'liveness probe failed', 'one adopted was ready before')
})

t.test('an answer on its port by another process does not make a unit ready', async (t) => {
  const world = new World(t)
  const listener = { protocol: 'tcp', address: '127.0.0.1', port: 8_080, pids: [1] }
  Object.assign(world.host.table, { listeners: async () => [listener] })
  const probes = { ready: { grpc: '', every: '1s' } } as const
  const watched = await world.supervise([unitSpec('api', { kind: 'integrated', run, ports: { grpc: 8_080 }, probes })])
  await watched.pass(1_000, 100)
  t.equal(watched.states()['api'], 'starting')
  listener.pids = world.host.pidsOf('api')
  await watched.pass(1_000, 100)
  t.equal(watched.states()['api'], 'up ready')
})

t.test('a connection to its port that another process takes does not make a unit ready', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const world = new World(t)
  let looks = 0
  const listener = { protocol: 'tcp', address: '127.0.0.1', port, pids: [1] }
  Object.assign(world.host.table, {
    listeners: async () => {
      looks += 1
      return [listener]
    },
  })
  const probes = { ready: { tcp: '{port.web}', every: '1s', timeout: '1h' }, start: { within: '1h' } } as const
  const watched = await world.supervise([unitSpec('api', { run, ports: { web: port }, probes })])
  await until('the owner of the port is asked for', () => looks > 0)
  t.equal(watched.states()['api'], 'starting')
  listener.pids = world.host.pidsOf('api')
  await until('it is ready', async () => {
    await watched.pass(100)
    return watched.states()['api'] === 'up ready'
  })
})

t.test('a unit to be started by hand is not started by the end of a node', async (t) => {
  const world = new World(t)
  const unit = unitSpec('idle', { run, activation: 'manual', restart: { policy: 'always' } })
  const first = await world.supervise([unit])
  await first.supervisor.abandon()
  const second = await world.supervise([unit])
  t.equal(second.status('idle').state, 'down')
  t.same(world.host.spawned, [])
})

t.test('a unit that starts when it is called sleeps, is woken, and sleeps on over a restart of the node', async (t) => {
  const world = new World(t)
  const units = [
    unitSpec('api', { run, activation: 'on-call', restart: { policy: 'always' }, replicas: 2, idle: { min: 1 } }),
    unitSpec('web', { run, idle: {} }),
  ]
  const first = await world.supervise(units)
  const states = (watched: typeof first) => watched.supervisor.status().map(({ unit, state }) => `${unit} ${state}`)
  t.same(
    states(first),
    ['api up', 'api asleep', 'web up'],
    'the least number runs; what is only stopped when idle starts too',
  )
  await first.supervisor.wakeUnit('api', never, { actor: 'a call' })
  await first.supervisor.wakeUnit('api', never, { actor: 'another' })
  t.same(states(first), ['api up', 'api up', 'web up'])
  t.equal(world.host.spawned.length, 3)

  first.supervisor.sleepUnit('api', 1, 'idle for 10m')
  first.supervisor.sleepUnit('web', 0, 'idle for 10m')
  await first.pass(1_000, 100)
  t.same(states(first), ['api up', 'api asleep', 'web asleep'])
  t.match(first.status('web'), { reason: 'idle for 10m', want: 'down', pid: undefined })
  t.match(first.events.filter(({ type }) => type === 'unit.asleep').length, 2)
  await first.supervisor.abandon()

  const second = await world.supervise(units)
  await second.pass(1_000, 100)
  t.same(states(second), ['api up', 'api asleep', 'web asleep'], 'whatever the restart policy')
  await second.supervisor.wakeUnit('web', never, { actor: 'a call' })
  t.equal(second.status('web').state, 'up')
  await second.supervisor.stopUnit('web', never)
  await second.supervisor.wakeUnit('web', never, { actor: 'a call' })
  t.match(second.status('web'), { state: 'down', reason: 'stopped' }, 'what a person stopped is not woken')

  await second.supervisor.apply([unitSpec('api', { run, replicas: 2 }), ...units.slice(1)])
  await second.pass(1_000, 100)
  t.same(states(second), ['api up', 'api up', 'web down'], 'what is to run always does not sleep on')
})

t.test('an instance is written down before it is started', async (t) => {
  const world = new World(t)
  const store = simStore(world.disk)
  const slow = {
    ...store,
    async put(key: string, value: Uint8Array) {
      await world.clock.sleep(50)
      await store.put(key, value)
    },
  }
  const known: boolean[] = []
  world.host.play(({ directory }) => {
    const instance = directory.split('/').at(-1) ?? ''
    known.push([...world.disk.values()].some((value) => Buffer.from(value).includes(instance)))
    return {}
  })
  const watched = await world.supervise([unitSpec('api', { run, ports: { http: 'auto' } })], { store: slow })
  await watched.pass(1_000, 100)
  t.same(known, [true])
})

t.test('a listener that throws does not keep a unit from what comes next', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run })])
  watched.supervisor.changes.subscribe(({ state }) => {
    if (state === 'stopping') throw new Error('listener')
  })
  await t.rejects(watched.supervisor.stopUnit('api', never), { message: 'listener' })
  await watched.pass(1_000, 100)
  t.match(watched.status('api'), { state: 'down', pid: undefined })
})
