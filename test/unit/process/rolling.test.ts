import t, { type Test } from 'tap'
import type { RestartMode } from '../../../src/process/supervisor/owned-unit.ts'
import { type Watched, World } from '../../support/sim-world.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { unitSpec } from '../../support/unit-spec.ts'

/** A signal for each caller. */
const never = (): AbortSignal => new AbortController().signal
const REPLICAS = 3

/** A unit of three replicas whose processes are ready two seconds after their start, unless they are to fail. */
async function setUp(t: Test, more: object = {}) {
  const world = new World(t)
  const program = { code: 0, lives: true }
  world.host.run = async () => ({ exit: { code: program.code }, stdout: '' })
  world.host.play(() => (program.lives ? {} : { exitsAtOnce: { code: 7 } }))
  const specOf = (env: Record<string, string> = {}) =>
    unitSpec('api', {
      run: ['/bin/serve'],
      env,
      replicas: REPLICAS,
      restart: { backoff: '1h..1h' },
      stop: { grace: '1s', drain: '0ms' },
      probes: { start: { within: '10s' }, ready: { exec: ['check'], every: '2s', delay: '2s' } },
      ...more,
    })
  const announced: string[] = []
  const node = await world.supervise([specOf()], {
    announced: async ({ instance }) => {
      announced.push(instance)
    },
  })
  await node.pass(5_000, 100)
  const ready = (): number => node.supervisor.status().filter((each) => each.ready).length
  t.equal(ready(), REPLICAS)
  let fewest = REPLICAS
  node.supervisor.changes.subscribe(() => (fewest = Math.min(fewest, ready())))
  const restart = (mode?: RestartMode): Promise<void> => {
    const restarted = node.supervisor.restartUnit('api', never(), { actor: 'anna' }, mode)
    restarted.catch(() => undefined)
    return restarted
  }
  return { world, node, program, specOf, announced, restart, fewest: () => fewest }
}

/** Lets time pass until it has come about; 5 simulated minutes at most. */
async function passUntil<T>(node: Watched, wanted: Promise<T>): Promise<T> {
  const state = { settled: false }
  const settle = (): void => {
    state.settled = true
  }
  wanted.then(settle, settle)
  for (let passedMs = 0; passedMs < 300_000; passedMs += 50) {
    await node.pass(50, 50)
    if (state.settled) return wanted
  }
  throw new Error('not within 5 minutes')
}

function instances(node: Watched): string[] {
  return node.supervisor.status().map(({ instance }) => instance)
}

t.test('replicas are restarted in turn, each once the one before serves and callers know it', async (t) => {
  const { node, restart, announced, fewest } = await setUp(t)
  const before = instances(node)
  await passUntil(node, restart())
  const after = instances(node)
  t.notOk(after.some((instance) => before.includes(instance)))
  t.equal(fewest(), REPLICAS - 1)
  t.same(announced, after)
  const turns = node.events.filter(({ type }) => type === 'unit.rolling')
  t.same(
    turns.map(({ reason }) => reason),
    [0, 1, 2].map((replica) => `restart, turn ${replica + 1} of 3: replica ${replica}`),
  )
  const asked = node.events.find(({ type }) => type === 'unit.requested')
  t.equal(turns[0]?.causedBy, asked?.id, 'the first because somebody asked')
  const byId = new Map(node.events.map((event) => [event.id, event]))
  for (const turn of turns.slice(1))
    t.equal(byId.get(turn.causedBy)?.type, 'unit.ready', 'the others when one is ready')
})

t.test('at once: side by side, as is a restart while nobody serves, for then nobody is served less', async (t) => {
  const { node, program, restart, fewest } = await setUp(t)
  await passUntil(node, restart('at once'))
  t.equal(fewest(), 0)
  t.same(node.typesOf('api').includes('rolling'), false)
  await node.pass(5_000, 100)
  program.code = 1
  await node.pass(20_000, 1_000)
  await passUntil(node, restart())
  t.same(node.typesOf('api').includes('rolling'), false)
})

t.test('it stops at the first replica that does not serve; the others go on with what they are', async (t) => {
  for (const fails of ['at once', 'never ready'] as const) {
    const { node, program, restart, fewest } = await setUp(t)
    const before = instances(node)
    if (fails === 'at once') program.lives = false
    else program.code = 1
    // Those that are ready are to stay so.
    const restarted = restart()
    const error = await throwsReason(t, 'UNIT_FAILED', () => passUntil(node, restarted))
    t.match(error?.message, /rolling restart of unit 'api' stopped at turn 1 of 3: replica 0: it is (backoff|failed)/)
    t.match(error?.message, /left as they were: replicas 1, 2$/)
    t.same(instances(node).slice(1), before.slice(1))
    if (fails === 'at once') t.equal(fewest(), REPLICAS - 1)
    const [stopped] = node.events.filter(({ type }) => type === 'unit.rolling_stopped')
    t.ok(stopped?.causedBy)
    program.lives = true
    program.code = 0
    await node.pass(3_000, 100)
    await passUntil(node, restart())
    t.notOk(
      instances(node).some((instance) => before.includes(instance)),
      'asked again, it is done',
    )
  }
})

t.test('fifty restarts at once are one; those that come while it is under way are one more', async (t) => {
  const { node, world, restart } = await setUp(t)
  const spawned = world.host.spawned.length
  await passUntil(node, Promise.all(Array.from({ length: 50 }, () => restart())))
  t.equal(world.host.spawned.length, spawned + REPLICAS)
  const first = restart()
  await node.pass(2_000, 100)
  const more = Array.from({ length: 50 }, () => restart())
  await passUntil(node, Promise.all([first, ...more]))
  t.equal(world.host.spawned.length, spawned + 3 * REPLICAS)
})

t.test('a stop, or a restart of all at once, ends it', async (t) => {
  const { node, restart, world } = await setUp(t)
  const rolling = restart()
  await node.pass(1_500, 100)
  const stopped = node.supervisor.stopUnit('api', never())
  await throwsReason(t, 'CANCELLED', () => passUntil(node, rolling))
  await passUntil(node, stopped)
  await node.pass(10_000, 100)
  t.equal(world.host.pidsOf('api').length, 0, 'nobody is started again')

  await passUntil(node, node.supervisor.startUnit('api', never()))
  await node.pass(5_000, 100)
  const again = restart()
  await node.pass(1_500, 100)
  await passUntil(node, restart('at once'))
  await throwsReason(t, 'CANCELLED', () => passUntil(node, again))
})

t.test('it goes on though whoever asked turns away, and ends with the node', async (t) => {
  const { node } = await setUp(t)
  const before = instances(node)
  const asker = new AbortController()
  const asked = node.supervisor.restartUnit('api', asker.signal)
  asked.catch(() => undefined)
  await node.pass(100, 10)
  asker.abort(new Error('hung up'))
  await t.rejects(asked, /hung up/)
  await node.pass(30_000, 100)
  t.notOk(instances(node).some((instance) => before.includes(instance)))

  const last = node.supervisor.restartUnit('api', never())
  last.catch(() => undefined)
  await node.pass(2_000, 100)
  await passUntil(node, node.supervisor.stop())
  await t.rejects(last)
})

t.test('a changed configuration is rolled out too, and the last one wins', async (t) => {
  const { node, world, specOf, fewest } = await setUp(t)
  await passUntil(node, node.supervisor.apply([specOf({ VERSION: '2' })]))
  await node.pass(4_000, 100)
  await passUntil(node, node.supervisor.apply([specOf({ VERSION: '3' })]))
  await node.pass(60_000, 100)
  t.equal(fewest(), REPLICAS - 1)
  const versions = world.host.spawned.slice(-REPLICAS).map(({ env }) => env['VERSION'])
  t.same(versions, ['3', '3', '3'])
  const [first] = node.events.filter(({ type }) => type === 'unit.rolling')
  t.match(first?.reason, /its configuration changed, turn 1 of 3/)
  const spawned = world.host.spawned.length
  await passUntil(node, node.supervisor.apply([specOf({ VERSION: '3' })]))
  await node.pass(10_000, 100)
  t.equal(world.host.spawned.length, spawned)
})

t.test('replicas that serve nobody have the first turns, and one that is taken away has none', async (t) => {
  const { node, world, restart } = await setUp(t, { restart: { policy: 'no' } })
  const [, , third] = world.host.pidsOf('api')
  world.host.exit(third ?? 0, { code: 1 })
  await node.pass(100, 10)
  const rolling = restart()
  await node.pass(1_000, 100)
  const scaled = node.supervisor.scaleUnit('api', 1, never())
  await passUntil(node, scaled)
  await rolling.catch(() => undefined)
  const order = node.events.filter(({ type }) => type === 'unit.rolling').map(({ details }) => details['replica'])
  t.equal(order[0], '2')
  await node.pass(20_000, 100)
  t.equal(world.host.pidsOf('api').length, 1)
})
