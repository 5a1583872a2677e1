import t from 'tap'
import { toRecord } from '../../../src/process/slot-state.ts'
import { INITIAL_STATE } from '../../../src/process/unit-state.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const run = ['/bin/serve']
const never = new AbortController().signal
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
const BREAKER = { backoff: '1s..1s', jitter: '0%', give_up: '2/1m', then: 'retry 10m' } as const

t.test('a unit that crashes once a week is still restarted in week 4', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run, restart: { jitter: '0%' } })])
  for (let week = 1; week <= 4; week += 1) {
    await world.clock.leap(7 * DAY_MS)
    await watched.crash('api', 1)
    t.match(watched.status('api'), { state: 'backoff' }, `week ${week}`)
    await watched.pass(490)
    t.equal(watched.status('api').state, 'backoff')
    await watched.pass(20)
    t.match(watched.status('api'), { state: 'up', restarts: week }, 'after the shortest wait again')
  }
})

t.test('delays double from crash to crash up to the cap, with jitter on both sides', async (t) => {
  const world = new World(t)
  const restart = { backoff: '1s..8s', jitter: '20%', give_up: '100/1m', reset_after: '1h' } as const
  const watched = await world.supervise([unitSpec('api', { run, restart })])
  const waits: number[] = []
  for (let crash = 0; crash < 40; crash += 1) {
    await watched.crash('api', 1)
    const { details } = watched.events.findLast(({ type }) => type === 'unit.backoff') ?? { details: { waitMs: '' } }
    waits.push(Number(details['waitMs']))
    await watched.pass(10_000, 1_000)
  }
  for (const [index, wait] of waits.entries()) {
    const nominal = Math.min(8_000, 1_000 * 2 ** index)
    t.ok(wait >= nominal * 0.8 && wait <= nominal * 1.2, `${wait} ms around ${nominal} ms`)
  }
  const late = waits.slice(4)
  t.ok(Math.min(...late) < 7_200 && Math.max(...late) > 8_800, 'spread over the whole width')
})

t.test(
  'one that served and ended for the first time in a while recovers; one that ends again, or never served, does not',
  async (t) => {
    const world = new World(t)
    const restart = { backoff: '1s..1s', jitter: '0%', give_up: '100/1m', reset_after: '10s' } as const
    const watched = await world.supervise([unitSpec('api', { run, restart })])
    t.match(watched.status('api'), { state: 'up', recovers: undefined })
    await watched.crash('api', 1)
    t.match(watched.status('api'), { state: 'backoff', recovers: true })
    await watched.pass(1_000)
    await watched.crash('api', 1)
    t.match(watched.status('api'), { state: 'backoff', recovers: undefined }, 'a second time')
    await watched.pass(12_000)
    await watched.crash('api', 1)
    t.match(watched.status('api'), { state: 'backoff', recovers: true }, 'it was stable in between')
  },
)

t.test(
  'the breaker opens, says when it tries again, lets one try through, and closes after a stable time',
  async (t) => {
    const world = new World(t)
    const watched = await world.supervise([unitSpec('api', { run, restart: BREAKER })])
    await watched.crash('api', 1)
    t.equal(watched.status('api').retryAtMs, world.clock.wallMs() + 1_000, 'a backoff says so too')
    await watched.pass(1_000)
    t.match(watched.status('api'), { state: 'up', retryAtMs: undefined, want: 'up' })
    await watched.crash('api', 1)
    const openedAtMs = world.clock.wallMs()
    t.match(watched.status('api'), { state: 'failed', want: 'up', retryAtMs: openedAtMs + 10 * MINUTE_MS })

    await watched.pass(10 * MINUTE_MS, 10_000)
    t.equal(watched.status('api').state, 'up', 'half open')
    await watched.crash('api', 1)
    t.match(watched.status('api'), { state: 'failed' }, 'one crash is enough')
    t.match(watched.events.at(-1)?.reason, /^crashed again when it was tried once more; is tried again in 10m/)

    await watched.pass(10 * MINUTE_MS, 10_000)
    await watched.pass(2 * MINUTE_MS, 10_000)
    await watched.crash('api', 1)
    t.equal(watched.status('api').state, 'backoff', 'closed again: it takes two')
  },
)

t.test('the next try of a failed unit does not begin anew with the node', async (t) => {
  const world = new World(t)
  const spec = unitSpec('api', { run, restart: BREAKER })
  const first = await world.supervise([spec])
  await first.crash('api', 1)
  await first.pass(1_000)
  await first.crash('api', 1)
  const { retryAtMs } = first.status('api')
  await first.pass(4 * MINUTE_MS, 10_000)
  await first.supervisor.abandon()
  await world.clock.advance(MINUTE_MS)
  const second = await world.supervise([spec])
  t.match(second.status('api'), { state: 'failed', want: 'up' })
  t.ok(Math.abs((second.status('api').retryAtMs ?? 0) - (retryAtMs ?? 0)) <= 20)
  await second.pass(5 * MINUTE_MS + 1_000, 1_000)
  t.equal(second.status('api').state, 'up')
})

t.test('then: stop waits for a person, and says so by having no next try', async (t) => {
  const world = new World(t)
  const watched = await world.supervise([unitSpec('api', { run, restart: { ...BREAKER, then: 'stop' } })])
  await watched.crash('api', 1)
  await watched.pass(1_000)
  await watched.crash('api', 1)
  t.match(watched.status('api'), { state: 'failed', retryAtMs: undefined })
  await world.clock.leap(30 * DAY_MS)
  t.equal(watched.status('api').state, 'failed')
  await watched.supervisor.startUnit('api', never)
  t.equal(watched.status('api').state, 'up')
})

t.test('a forced restart', async (t) => {
  t.test('passes by an open breaker and a backoff, and past crashes are forgotten', async (t) => {
    const world = new World(t)
    const watched = await world.supervise([unitSpec('api', { run, restart: BREAKER })])
    await watched.crash('api', 1)
    await watched.supervisor.restartUnit('api', never, undefined, 'force')
    t.equal(watched.status('api').state, 'up')
    await watched.crash('api', 1)
    t.equal(watched.status('api').state, 'backoff', 'the crash before no longer counts')
  })

  t.test('does not wait for a dependency, where a plain one does', async (t) => {
    const world = new World(t)
    world.host.play(({ unit }) => (unit === 'db' ? { fault: 'no such file' } : {}))
    const watched = await world.supervise([
      unitSpec('db', { run: ['/x'], restart: { policy: 'no' } }),
      unitSpec('api', { run, depends_on: { db: { condition: 'healthy' } } }),
    ])
    await watched.pass(10)
    await watched.supervisor.restartUnit('api', never)
    t.equal(watched.status('api').state, 'down')
    await watched.supervisor.restartUnit('api', never, undefined, 'force')
    t.equal(watched.status('api').state, 'up')
  })

  t.test('does not drain, and cuts short a drain that is under way', async (t) => {
    for (const begun of [false, true]) {
      const world = new World(t)
      let drains = 0
      const drain = (): Promise<void> => {
        drains += 1
        return new Promise(() => undefined)
      }
      const watched = await world.supervise([unitSpec('api', { run, stop: { drain: '1h' } })], { drain })
      const [pid] = world.host.pidsOf('api')
      if (begun) {
        void watched.supervisor.restartUnit('api', never)
        await watched.pass(1_000)
        t.same(world.host.pidsOf('api'), [pid], 'it drains')
      }
      const restarted = watched.supervisor.restartUnit('api', never, undefined, 'force')
      await watched.pass(1_000)
      await restarted
      t.not(world.host.pidsOf('api')[0], pid)
      t.equal(watched.status('api').state, 'up')
      t.equal(drains, begun ? 1 : 0)
      t.ok(world.host.signals.includes('SIGTERM main'), 'it is still asked politely')
    }
  })
})

t.test('a unit whose program was missing is started once it is there: by itself, and at once when asked', async (t) => {
  for (const asked of [false, true]) {
    const world = new World(t)
    world.host.play(() => ({ fault: 'no such file' }))
    const restart = { backoff: '10s..10s', jitter: '0%' } as const
    const watched = await world.supervise([unitSpec('api', { run, restart }), unitSpec('other', { run: ['/bin/y'] })])
    await watched.pass(100)
    t.match(watched.status('api'), { state: 'failed', retryAtMs: world.clock.wallMs() + 9_900 })
    world.host.play(() => ({}))
    if (asked) await watched.supervisor.startUnit('api', never)
    else await watched.pass(10_000, 1_000)
    t.match(watched.status('api'), { state: 'up', ready: true })
  }
})

t.test('a start after a crash does not wait for the disk, and a loss of power does no harm', async (t) => {
  for (const how of ['torn', 'before'] as const) {
    const world = new World(t)
    const spec = unitSpec('api', { run, restart: { policy: 'unless-stopped', backoff: '0ms..0ms' } })
    const first = await world.supervise([spec])
    t.equal(world.disk.flushes, 0, 'nor does the first start')
    await Promise.all([first.supervisor.stopUnit('api', never), first.pass(100)])
    await first.supervisor.startUnit('api', never)
    await first.pass(10)
    const { flushes } = world.disk
    t.ok(flushes > 1, 'that a person stopped it and took that back does')
    await first.crash('api', 1)
    await first.pass(10)
    t.match(first.status('api'), { state: 'up', restarts: 1 })
    t.equal(world.disk.flushes, flushes)
    await first.supervisor.abandon()
    world.host.reboot()
    world.disk.loseThePower(how)
    const second = await world.supervise([spec])
    t.equal(second.status('api').state, 'up', `started by a person, so it is again (${how})`)
  }
})

t.test('a restart without a wait is written down once', async (t) => {
  const world = new World(t)
  const store = simStore(world.disk)
  const phases: string[] = []
  const put: typeof store.put = async (key, value, outlives) => {
    phases.push((JSON.parse(Buffer.from(value).toString()) as { phase: string }).phase)
    await store.put(key, value, outlives)
  }
  const spec = unitSpec('api', { run, restart: { backoff: '0ms..0ms' } })
  const watched = await world.supervise([spec], { store: { ...store, put } })
  phases.length = 0
  await watched.crash('api', 1)
  await watched.pass(10)
  t.same(phases, ['starting', 'up'], 'and not what was over in the same moment')
})

t.test('a record does not change because two clocks run unevenly by a hair', async (t) => {
  const crashed = { ...INITIAL_STATE, crashesAtMs: [1_000.25] }
  const at = (nowMs: number) =>
    toRecord(crashed, { nowMs: () => nowMs, wallMs: () => 50_000, sleep: () => Promise.resolve() })
  t.same(at(2_000.1), at(2_000.9))
})

t.test('what was stopped by a person', async (t) => {
  type Policy = 'no' | 'on-failure' | 'always' | 'unless-stopped'
  type End = 'stop' | 'kill' | 'reboot' | 'torn' | 'before'
  /** Whether a stopped unit runs again after its node, or the whole system, went down and came up. */
  const runsAgain = async (policy: Policy, how: End): Promise<boolean> => {
    const world = new World(t)
    const spec = unitSpec('api', { run, restart: { policy } })
    const first = await world.supervise([spec])
    const stopped = first.supervisor.stopUnit('api', never)
    await first.pass(100)
    await stopped
    t.match(first.status('api'), { state: 'down', want: 'down' })
    if (how === 'stop') await Promise.all([first.supervisor.stop(), first.pass(100)])
    else await first.supervisor.abandon()
    if (how === 'reboot' || how === 'torn' || how === 'before') world.host.reboot()
    if (how === 'torn' || how === 'before') world.disk.loseThePower(how)
    const second = await world.supervise([spec])
    await second.pass(100)
    return second.status('api').state === 'up'
  }

  t.test(
    'stays down under unless-stopped: over a restart of the node, its death, a reboot, a loss of power',
    async (t) => {
      for (const how of ['stop', 'kill', 'reboot', 'torn', 'before'] as const)
        t.equal(await runsAgain('unless-stopped', how), false, how)
    },
  )

  t.test('comes back under always, whatever happened', async (t) => {
    for (const how of ['stop', 'kill', 'reboot'] as const) t.equal(await runsAgain('always', how), true, how)
  })

  t.test(
    'under the other policies stays down over the death of the node, and begins anew with a new one',
    async (t) => {
      for (const policy of ['no', 'on-failure'] as const) {
        t.equal(await runsAgain(policy, 'kill'), false, policy)
        t.equal(await runsAgain(policy, 'stop'), true, policy)
        t.equal(await runsAgain(policy, 'reboot'), true, policy)
      }
    },
  )
})

t.test(
  'the time to become ready is counted from the start of its process, which may have to wait for its turn',
  async (t) => {
    const world = new World(t)
    let open = (): void => undefined
    world.host.gate = new Promise((resolve) => {
      open = resolve
    })
    const probes = { start: { within: '10s' }, ready: { exec: ['check'], every: '1s' } }
    let code = 1
    world.host.run = async () => ({ exit: { code }, stdout: '' })
    const node = await world.supervise([unitSpec('slow', { run, probes })])
    await node.pass(60_000, 1_000)
    t.match(node.status('slow'), { state: 'starting', pid: undefined, restarts: 0 })
    open()
    await node.pass(7_000, 1_000)
    t.match(node.status('slow'), { state: 'starting', restarts: 0 })
    code = 0
    await node.pass(2_000, 1_000)
    t.match(node.status('slow'), { state: 'up', ready: true, restarts: 0 })
  },
)
