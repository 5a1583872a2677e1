import { getEventListeners } from 'node:events'
import t, { type Test } from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { passUntil, type Watched, World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const never = new AbortController().signal
const run = ['/bin/serve']
const given = { run, stop: { grace: '1s', drain: '0ms' } } as const
const api = unitSpec('api', given)

/** The next node begins with `api` and gets no answer from the system until `answer` is called. */
async function slowTakeOver(world: World): Promise<{ next: Watched; answer: () => Promise<void> }> {
  const next = await world.boot({ random: seeded(4) })
  let open = (): void => undefined
  world.host.lookGate = new Promise<void>((resolve) => {
    open = resolve
  })
  const applied = next.supervisor.apply([api])
  await next.pass(50)
  const answer = async (): Promise<void> => {
    open()
    await passUntil(next, applied)
  }
  return { next, answer }
}

/** What became of `asked` so far: `waits`, `done`, or the reason why it failed. */
async function outcomeOf(asked: Promise<unknown>, watched: Watched): Promise<string> {
  const told = asked.then(
    () => 'done',
    (error: unknown) => HsuError.from(error).reason,
  )
  return Promise.race([told, watched.pass(20).then(() => 'waits')])
}

t.test('what is asked of a unit while its instance is being taken over waits until that is done', async (t) => {
  const taken = async (
    world: World,
  ): Promise<{ next: Watched; answer: () => Promise<void>; pid: number | undefined }> => {
    const first = await world.supervise([api])
    const { pid } = first.status('api')
    await first.supervisor.abandon()
    return { ...(await slowTakeOver(world)), pid }
  }

  await t.test('a start starts no second one', async (t) => {
    const world = new World(t)
    const { next, answer, pid } = await taken(world)
    const started = next.supervisor.startUnit('api', never)
    await next.pass(50)
    await answer()
    await passUntil(next, started)
    t.same(world.host.pidsOf('api'), [pid])
    t.equal(next.status('api').pid, pid)
  })

  await t.test('a stop is not forgotten', async (t) => {
    const world = new World(t)
    const { next, answer } = await taken(world)
    const stopped = next.supervisor.stopUnit('api', never)
    t.equal(await outcomeOf(stopped, next), 'waits')
    await answer()
    t.match(await passUntil(next, stopped), [{ unit: 'api', exit: { signal: 'SIGTERM' } }])
    t.match(next.status('api'), { state: 'down', want: 'down' })
    t.equal(world.host.population, 0)
  })

  await t.test('a restart makes one new instance', async (t) => {
    const world = new World(t)
    const { next, answer, pid } = await taken(world)
    const restarted = next.supervisor.restartUnit('api', never)
    await next.pass(50)
    await answer()
    await passUntil(next, restarted)
    t.equal(world.host.pidsOf('api').length, 1)
    t.not(next.status('api').pid, pid)
  })

  await t.test('a kill finds the process', async (t) => {
    const world = new World(t)
    const { next, answer } = await taken(world)
    const killed = next.supervisor.killUnit('api')
    await next.pass(50)
    await answer()
    await passUntil(next, killed)
    t.ok(world.host.signals.includes('SIGKILL main'))
  })

  await t.test('who asks may give up, and is told when it takes too long', async (t) => {
    const world = new World(t)
    const { next, answer } = await taken(world)
    const giveUp = new AbortController()
    const stopped = next.supervisor.stopUnit('api', giveUp.signal)
    const started = next.supervisor.startUnit('api', never)
    giveUp.abort()
    await t.rejects(stopped, { name: 'AbortError' })
    t.equal(await outcomeOf(started, next), 'waits')
    await next.pass(60_000, 1_000)
    t.equal(await outcomeOf(started, next), 'TIMED_OUT')
    await answer()
  })
})

t.test('while the node stops', async (t) => {
  for (const ask of ['startUnit', 'restartUnit'] as const) {
    await t.test(`${ask} is refused, and nothing is left`, async (t) => {
      const world = new World(t)
      world.host.play(() => ({ ignores: ['SIGTERM'] }))
      const watched = await world.supervise([api])
      const stopping = watched.supervisor.stop()
      await watched.pass(500)
      t.equal(await outcomeOf(watched.supervisor[ask]('api', never), watched), 'NODE_DRAINING')
      await watched.pass(3_000)
      await passUntil(watched, stopping)
      t.equal(world.host.population, 0)
      t.equal(await outcomeOf(watched.supervisor[ask]('api', never), watched), 'NODE_DRAINING')
      t.equal(world.host.population, 0, 'nor is anything started after the end')
    })
  }
})

t.test('a unit that is removed', async (t) => {
  const three = unitSpec('api', { ...given, replicas: 3 })
  async function removing(t: Test): Promise<{ watched: Watched; world: World; removed: Promise<void> }> {
    const world = new World(t)
    world.host.play(() => ({ ignores: ['SIGTERM'] }))
    const watched = await world.supervise([three])
    const removed = watched.supervisor.apply([])
    await watched.pass(500)
    return { watched, world, removed }
  }

  await t.test('ends its replicas side by side, and lists them until they are gone', async (t) => {
    const { watched, world, removed } = await removing(t)
    t.same(
      watched.supervisor.status().map(({ state }) => state),
      ['stopping', 'stopping', 'stopping'],
    )
    await watched.pass(700)
    t.equal(world.host.population, 0, 'one grace is enough for all of them')
    await passUntil(watched, removed)
    t.same(watched.supervisor.status(), [])
  })

  await t.test('is stopped when its processes are gone, and not started again', async (t) => {
    const { watched, world, removed } = await removing(t)
    const stopped = watched.supervisor.stopUnit('api', never)
    t.equal(await outcomeOf(stopped, watched), 'waits')
    t.equal(await outcomeOf(watched.supervisor.startUnit('api', never), watched), 'NODE_DRAINING')
    await watched.pass(1_000)
    t.equal(world.host.population, 0)
    await passUntil(watched, Promise.all([removed, stopped]))
  })

  await t.test('can be killed meanwhile', async (t) => {
    const { watched, world, removed } = await removing(t)
    await watched.supervisor.killUnit('api')
    await watched.pass(100)
    t.equal(world.host.population, 0)
    await passUntil(watched, removed)
  })
})

t.test('a replica too many is listed until it is gone, and whoever listens is told that it is', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ ignores: ['SIGTERM'] }))
  const watched = await world.supervise([unitSpec('api', { ...given, replicas: 2 })])
  const listed: number[] = []
  watched.supervisor.changes.subscribe(() => void listed.push(watched.supervisor.status().length))
  const scaled = watched.supervisor.scaleUnit('api', 1, never)
  await watched.pass(500)
  t.equal(watched.status('api', 1).state, 'stopping')
  await watched.supervisor.startUnit('api', never)
  await watched.pass(700)
  await passUntil(watched, scaled)
  t.equal(watched.supervisor.status().length, 1)
  t.equal(listed.at(-1), 1)
  t.equal(world.host.pidsOf('api').length, 1)
})

t.test('who asks for many replicas has one listener on the signal, and can give up on all of them', async (t) => {
  const world = new World(t)
  world.host.play(() => ({ ignores: ['SIGTERM'] }))
  const watched = await world.supervise([unitSpec('api', { ...given, replicas: 12 })])
  const giveUp = new AbortController()
  const stopped = watched.supervisor.stopUnit('api', giveUp.signal)
  await watched.pass(50)
  t.equal(getEventListeners(giveUp.signal, 'abort').length, 1)
  giveUp.abort()
  await t.rejects(stopped, { name: 'AbortError' })
  t.equal(getEventListeners(giveUp.signal, 'abort').length, 0)
})
