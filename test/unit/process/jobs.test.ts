import t, { type Test } from 'tap'
import type { z } from 'zod'
import type { unitShape } from '../../../src/process/config.ts'
import type { StartedRun } from '../../../src/process/jobs/desk.ts'
import type { RunRecord } from '../../../src/process/jobs/run-record.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { passUntil, type Watched, World } from '../../support/sim-world.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { unitSpec } from '../../support/unit-spec.ts'
import { until } from '../../support/until.ts'

const ASKER = { actor: 'anna' }
const GONE = new AbortController().signal

type Given = Partial<Record<keyof typeof unitShape, unknown>>

const job = (given: Given = {}) => unitSpec('report', { run: ['report'], job: {}, ...given } as z.input<never>)

const at = (text: string): number => Date.parse(text)

/** What is said of a run, in one line. */
const shown = ({ state, attempts, reason, exit }: RunRecord): string =>
  `${state} ${attempts} ${JSON.stringify(exit ?? null)} ${reason}`.trim()

const runsOf = ({ supervisor }: Watched): string[] => supervisor.jobs.runs('report').map(shown)

const ticksOf = ({ supervisor }: Watched): string[] =>
  supervisor.jobs.runs('report').map(({ tickMs = 0 }) => new Date(tickMs).toISOString().slice(11, 19))

/** Begins a run, and waits until it has a process where nothing keeps it from that. */
async function begin(node: Watched, ...args: string[]): Promise<StartedRun> {
  const run = await passUntil(node, node.supervisor.jobs.run('report', args, ASKER))
  await node.pass(50)
  return run
}

/** Ends the program of a run as soon as it runs. */
async function crash(node: Watched, code: number): Promise<void> {
  await until('a program to run', async () => {
    await node.pass(10)
    return node.world.host.pidsOf('report').length > 0
  })
  await node.crash('report', code)
}

/** Ends the program of a run, and waits until the run is put away. */
async function finish(node: Watched, run: StartedRun, code = 0): Promise<void> {
  await crash(node, code)
  await passUntil(node, run.done)
}

t.test('a job', async (t) => {
  await t.test('is not started with the node, and ends completed or failed', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ restart: { policy: 'always' } })])
    await node.pass(60_000, 1_000)
    t.same(world.host.running, [])
    t.equal(node.status('report').state, 'down')

    const run = await begin(node, '--date', '2025-01-01')
    const { id } = run.record()
    t.match(run.record(), {
      state: 'running',
      attempts: 1,
      cause: 'person',
      actor: 'anna',
      args: ['--date', '2025-01-01'],
    })
    t.same(world.host.spawned.at(-1)?.argv, ['report', '--date', '2025-01-01'])
    t.match(world.host.spawned.at(-1)?.env, { HSU_RUN: id })
    t.match(node.status('report'), { state: 'up', job: { run: id, active: 1 } })
    await finish(node, run)
    t.match(node.status('report'), { state: 'completed', exit: { code: 0 }, job: { run: id, active: 0 } })

    await finish(node, await begin(node), 3)
    await node.pass(120_000, 1_000)
    t.equal(node.status('report').state, 'failed')
    t.same(runsOf(node), ['completed 1 {"code":0}', 'failed 1 {"code":3} exited with code 3'])
    t.equal(world.host.spawned.length, 2, 'not restarted, whatever its policy says')
    t.match(
      node.events.filter(({ type }) => type.startsWith('run.')),
      [
        { type: 'run.started', causedBy: /./ },
        { type: 'run.completed' },
        { type: 'run.started' },
        { type: 'run.failed', reason: /exited with code 3/ },
      ],
    )
  })

  await t.test('is tried again so many times, with the waits of its backoff', async (t) => {
    const world = new World(t)
    const terms = { job: { retries: 2 }, restart: { backoff: '1s..60s', jitter: '0%' } }
    const node = await world.supervise([job(terms)])
    world.host.play(() => ({ exitsAtOnce: { code: 9 } }))
    await begin(node)
    t.equal(world.host.spawned.length, 1)
    await node.pass(900)
    t.equal(world.host.spawned.length, 1, 'it waits')
    await node.pass(300)
    t.equal(world.host.spawned.length, 2)
    t.match(runsOf(node), [/^running 2/])
    await node.pass(1_700)
    t.equal(world.host.spawned.length, 2, 'twice as long')
    await node.pass(600)
    t.same(runsOf(node), ['failed 3 {"code":9} exited with code 9, in the last of 3 attempts'])
    await node.pass(600_000, 10_000)
    t.equal(world.host.spawned.length, 3)

    world.host.play(() => ({}))
    const run = await begin(node)
    await crash(node, 1)
    await node.pass(1_100)
    await finish(node, run, 0)
    t.equal(runsOf(node)[1], 'completed 2 {"code":0}')
  })

  await t.test('is ended at its deadline, by force when it does not heed, and its retries with it', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ job: { deadline: '30s', retries: 5 }, stop: { grace: '5s' } })])
    world.host.play(() => ({ ignores: ['SIGTERM'] }))
    await begin(node)
    await node.pass(29_900, 100)
    t.same(world.host.signals, [])
    await node.pass(200)
    t.same(world.host.signals, ['SIGTERM main'])
    t.match(runsOf(node), [/^running/])
    await node.pass(5_500, 100)
    t.same(runsOf(node), ['failed 1 {"signal":"SIGKILL"} timeout: had not ended after 30s'])
    await node.pass(600_000, 10_000)
    t.equal(world.host.spawned.length, 1)

    world.host.play(() => ({ exitsAtOnce: { code: 1 } }))
    const slow = { backoff: '20s..60s', jitter: '0%' }
    await node.supervisor.apply([job({ job: { deadline: '30s', retries: 5 }, restart: slow })])
    await begin(node)
    await node.pass(31_000, 100)
    t.match(runsOf(node)[1], /^failed 2 .* timeout/, 'while it waits for its next try, too')
  })

  await t.test('runs beside, instead of, or after another run of it, as its terms say', async (t) => {
    const outcomes: Record<string, string[]> = {}
    for (const concurrency of ['allow', 'forbid', 'replace']) {
      const world = new World(t)
      const node = await world.supervise([job({ job: { concurrency } })])
      await begin(node)
      if (concurrency === 'forbid') await throwsReason(t, 'ALREADY_RUNNING', () => begin(node))
      else await begin(node)
      outcomes[concurrency] = [...runsOf(node), `now ${world.host.running.join()}`]
    }
    t.same(outcomes, {
      allow: ['running 1 null', 'running 1 null', 'now report/0,report/1'],
      forbid: ['running 1 null', 'now report/0'],
      replace: ['stopped 1 {"signal":"SIGTERM"} replaced by a later run', 'running 1 null', 'now report/0'],
    })
  })

  await t.test('is stopped by a person, politely or by force', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ job: { retries: 3 } })])
    world.host.play(() => ({ ignores: ['SIGTERM'] }))
    const run = await begin(node)
    const { id } = run.record()
    node.supervisor.jobs.stop('report', id, false, ASKER)
    await node.pass(1_000)
    t.same(world.host.signals, ['SIGTERM main'])
    node.supervisor.jobs.stop('report', id, true, ASKER)
    await passUntil(node, run.done)
    t.same(runsOf(node), ['stopped 1 {"signal":"SIGKILL"} stopped'])
    await throwsReason(t, 'RUN_NOT_FOUND', async () => node.supervisor.jobs.stop('report', id, false, ASKER))

    world.host.play(() => ({}))
    await begin(node)
    t.match(await passUntil(node, node.supervisor.stopUnit('report', GONE, ASKER)), [{ exit: { signal: 'SIGTERM' } }])
    t.equal(world.host.spawned.length, 2, 'what was stopped is not tried again')
  })

  await t.test('starts what it depends on and nobody wants yet, and waits for it', async (t) => {
    const world = new World(t)
    const db = unitSpec('db', { run: ['db'], activation: 'manual' })
    const idle = unitSpec('idle', { run: ['idle'], activation: 'manual' })
    const schema = unitSpec('schema', { run: ['schema'], job: {}, depends_on: ['db'] })
    const given = { depends_on: { schema: { condition: 'completed' } } }
    const node = await world.supervise([db, idle, schema, job(given)])
    t.same(world.host.running, [])
    const run = await begin(node)
    t.same(world.host.running, ['db/0', 'schema/0'])
    t.match(node.status('report').reason, /waits for 'schema' to be completed/)
    await node.crash('schema', 0)
    await node.pass(1_000)
    t.same(world.host.running, ['db/0', 'report/0'])
    await finish(node, run)
    const asked = node.events.find(({ type, unit }) => type === 'unit.requested' && unit === 'report')
    const started = node.events.find(({ type, unit }) => type === 'run.started' && unit === 'schema')
    t.equal(started?.causedBy, asked?.id)

    await finish(node, await begin(node))
    t.equal(node.supervisor.jobs.runs('schema').length, 1, 'what is there already is not started again')
  })

  await t.test('whose schedule begins it waits only: what is down may be so on purpose', async (t) => {
    const world = new World(t)
    const db = unitSpec('db', { run: ['db'], activation: 'manual' })
    const node = await world.supervise([db, job({ schedule: '* * * * *', depends_on: ['db'] })])
    await until('a run', async () => {
      await node.pass(10_000, 1_000)
      return runsOf(node).length > 0
    })
    await node.pass(1_000)
    t.same(world.host.running, [])
    t.match(node.status('report').reason, /waits for 'db' to be healthy/)
    const started = node.supervisor.startUnit('db', GONE, ASKER)
    await node.pass(1_000)
    await started
    t.ok(world.host.running.includes('report/0'))
  })

  await t.test('can be joined by whoever lost sight of it, until it is forgotten', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ job: { history: 1 } })])
    const first = await begin(node)
    const { id } = first.record()
    await node.supervisor.abandon()
    await first.done
    t.equal(first.record().state, 'running', 'this process has let go of it')
    const next = await world.supervise([job({ job: { history: 1 } })], { random: seeded(4) }, true)
    await next.pass(100)
    const again = next.supervisor.jobs.rejoin('report', id)
    await finish(next, again, 4)
    t.match(next.supervisor.jobs.rejoin('report', id).record(), { state: 'failed', exit: { code: 4 } })
    await finish(next, await begin(next))
    await throwsReason(t, 'RUN_NOT_FOUND', async () => next.supervisor.jobs.rejoin('report', id))
  })

  await t.test('remembers its last runs only, and the next node does too', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ job: { history: 2 } })])
    for (const code of [1, 2, 3]) {
      await finish(node, await begin(node), code)
    }
    const known = runsOf(node)
    t.match(known, [/"code":2/, /"code":3/])
    await node.supervisor.abandon()
    const next = await world.supervise([job({ job: { history: 2 } })])
    t.same(runsOf(next), known)
    t.match(next.status('report'), { state: 'failed', exit: { code: 3 } })
    await next.supervisor.apply([])
    await next.supervisor.apply([job()])
    t.same(runsOf(next), [], 'a unit that was removed is forgotten')
  })

  await t.test('of a unit that is kept running runs beside its replicas', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job({ job: undefined, replicas: 2 })])
    await node.pass(100)
    t.same(world.host.running, ['report/0', 'report/1'])
    const run = await begin(node, '--check')
    t.same(world.host.running, ['report/0', 'report/1', 'report/1000'])
    world.host.exit(world.host.pidsOf('report').at(-1) as number, { code: 0 })
    await passUntil(node, run.done)
    t.same(runsOf(node), ['completed 1 {"code":0}'])
    t.same(
      node.supervisor.status().map(({ replica, state }) => `${replica} ${state}`),
      ['0 up', '1 up'],
    )
  })

  await t.test('of a unit that is kept running is not what others depend on', async (t) => {
    const world = new World(t)
    const probes = { start: { tcp: '1', within: '5s' }, ready: { exec: ['false'] }, live: { exec: ['false'], fail: 1 } }
    const db = job({ job: undefined, activation: 'manual', probes })
    const conditions = { healthy: {}, started: {}, completed: {}, log: { line: 'up' } }
    const above = Object.entries(conditions).map(([condition, more]) =>
      unitSpec(condition, { run: [condition], depends_on: { report: { condition, ...more } } } as z.input<never>),
    )
    const node = await world.supervise([db, ...above])
    const run = await begin(node, '--migrate')
    t.same(world.host.running, ['report/1000'])
    await node.pass(600_000, 10_000)
    t.match(runsOf(node), [/^running 1/], 'its probes are for its replicas')
    await finish(node, run)
    await node.pass(1_000)
    t.same(world.host.running, [])
    await node.supervisor.apply([job({ job: undefined, activation: 'manual' }), ...above])
    const started = node.supervisor.startUnit('report', GONE, ASKER)
    await node.pass(1_000)
    await started
    t.same(world.host.running.slice().sort(), ['healthy/0', 'report/0', 'started/0'])
  })

  await t.test('is what others depend on: until its last run has completed, they wait', async (t) => {
    const world = new World(t)
    const above = unitSpec('above', { run: ['above'], depends_on: { report: { condition: 'completed' } } })
    const node = await world.supervise([job(), above])
    await node.pass(1_000)
    t.same(world.host.running, [])
    t.match(node.status('above').reason, /waits for 'report' to be completed; it is down/)
    await finish(node, await begin(node), 1)
    await node.pass(1_000)
    t.same(world.host.running, [])
    t.match(node.status('above').reason, /waits for 'report' to be completed; it is failed: exited with code 1/)
    await finish(node, await begin(node), 0)
    await node.pass(1_000)
    t.same(world.host.running, ['above/0'])
    const again = await begin(node)
    t.match(node.states(), { above: 'up ready' }, 'that it is run again is no loss')
    await finish(node, again, 1)
    t.match(node.states(), { above: 'up ready' })
  })
})

t.test('a run that the node did not live to see the end of', async (t) => {
  const setUp = async (t: Test, given: Given = {}): Promise<World> => {
    const world = new World(t)
    const node = await world.supervise([job(given)])
    await begin(node)
    await node.supervisor.abandon()
    return world
  }

  await t.test('goes on, and ends by the same terms', async (t) => {
    const world = await setUp(t, { job: { retries: 1 } })
    const next = await world.supervise([job({ job: { retries: 1 } })], { random: seeded(4) })
    await next.pass(100)
    t.match(runsOf(next), [/^running 1/])
    t.equal(world.host.spawned.length, 1, 'no second copy')
    await crash(next, 5)
    await next.pass(2_000)
    t.match(runsOf(next), [/^running 2/], 'its retry')
    await crash(next, 5)
    await next.pass(50)
    t.same(runsOf(next), ['failed 2 {"code":5} exited with code 5, in the last of 2 attempts'])
  })

  await t.test('and ended meanwhile is written down as it ended', async (t) => {
    const world = await setUp(t)
    world.host.exit(world.host.pidsOf('report')[0] as number, { code: 7 })
    const next = await world.supervise([job()])
    await next.pass(100)
    t.same(runsOf(next), ['failed 1 {"code":7} exited with code 7'])
    t.equal(world.host.spawned.length, 1)
  })

  await t.test('and is overdue by now is ended', async (t) => {
    const world = await setUp(t, { job: { deadline: '1m' } })
    await world.clock.advance(120_000)
    const next = await world.supervise([job({ job: { deadline: '1m' } })])
    await next.pass(100)
    t.match(runsOf(next), [/^failed 1 .* timeout: had not ended after 1m/])
  })

  await t.test('is lost when the machine was started anew', async (t) => {
    const world = await setUp(t, { job: { retries: 3 } })
    world.host.reboot()
    const next = await world.supervise([job({ job: { retries: 3 } })])
    await next.pass(1_000)
    t.match(runsOf(next), [/^failed 1 null lost: the machine was started anew/])
    t.equal(world.host.spawned.length, 1)
  })

  await t.test('is stopped with a node that ends in good order, and not begun again', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job()])
    await begin(node)
    await passUntil(node, node.supervisor.stop())
    t.same(world.host.running, [])
    const next = await world.supervise([job()])
    await next.pass(1_000)
    t.match(runsOf(next), [/^stopped 1 .* the node was stopped/])
    t.equal(world.host.spawned.length, 1)
  })
})

t.test('a schedule', async (t) => {
  const hourly = (more: object = {}) =>
    job({ job: undefined, schedule: { cron: '0 * * * *', timezone: 'UTC', ...more } })

  /** What understands cron expressions is loaded when there is one. */
  const planned = (node: Watched): Promise<unknown> =>
    until('the next run to be known', () => node.status('report').job?.nextRunMs)

  const setUp = async (t: Test, more: object = {}): Promise<{ world: World; node: Watched }> => {
    const world = new World(t)
    world.clock.setWall(at('2025-01-01T08:30:00Z'))
    world.host.play(() => ({ exitsAtOnce: { code: 0 } }))
    const node = await world.supervise([hourly(more)])
    await planned(node)
    return { world, node }
  }

  await t.test('runs the unit at its moments, once each, and says when the next is', async (t) => {
    const { world, node } = await setUp(t)
    t.equal(node.status('report').job?.nextRunMs, at('2025-01-01T09:00:00Z'))
    t.match(node.status('report').job, { schedule: '0 * * * *' })
    await node.pass(29 * 60_000, 10_000)
    t.equal(world.host.spawned.length, 0)
    await node.pass(3 * 3_600_000, 1_000)
    t.same(ticksOf(node), ['09:00:00', '10:00:00', '11:00:00'])
    t.match(world.host.spawned[0]?.env, { HSU_TICK: '2025-01-01T09:00:00.000Z' })
    t.match(
      node.supervisor.jobs.runs('report').map(({ startedAtMs, tickMs = 0 }) => startedAtMs - tickMs < 1_000),
      [true, true, true],
    )
    t.equal(node.status('report').job?.nextRunMs, at('2025-01-01T12:00:00Z'))
  })

  await t.test('does what its terms say about moments that passed while the node was down', async (t) => {
    for (const [missed, expected] of [
      ['skip', ['09:00:00', '12:00:00']],
      ['once', ['09:00:00', '11:00:00', '12:00:00']],
    ] as const) {
      const { world, node } = await setUp(t, { missed })
      await node.pass(45 * 60_000, 1_000)
      await node.supervisor.abandon()
      await world.clock.advance(2 * 3_600_000)
      const next = await world.supervise([hourly({ missed })])
      await planned(next)
      await next.pass(10_000, 100)
      await next.supervisor.abandon()
      const third = await world.supervise([hourly({ missed })])
      await planned(third)
      await third.pass(50 * 60_000, 1_000)
      t.same(ticksOf(third), expected, missed)
      t.match(
        next.events.filter(({ type }) => type === 'run.missed').map(({ reason }) => reason),
        [
          missed === 'skip'
            ? /^2 times of the schedule passed with nobody there$/
            : /^2 times of the schedule .* makes up/,
        ],
      )
      t.same(
        third.events.filter(({ type }) => type === 'run.missed'),
        [],
        'said once',
      )
    }
  })

  await t.test(
    'runs what is due while one process of the node takes over from another, and nothing twice',
    async (t) => {
      const { world, node } = await setUp(t)
      await node.pass(29 * 60_000 + 59_000, 1_000)
      await node.supervisor.abandon()
      await world.clock.advance(3_000)
      const next = await world.supervise([hourly()], {}, true)
      await until('the run', () => next.supervisor.jobs.runs('report').length === 1)
      await next.pass(1_000, 100)
      t.same(ticksOf(next), ['09:00:00'], 'late, not missed')
      t.notOk(next.events.some(({ type }) => type === 'run.missed'))
      await next.supervisor.abandon()
      const last = await world.supervise([hourly()], {}, true)
      await planned(last)
      await last.pass(60_000, 1_000)
      t.same(ticksOf(last), ['09:00:00'])
    },
  )

  await t.test('runs what is due while its terms are changed', async (t) => {
    const { node } = await setUp(t, { jitter: '5s' })
    const isDue = (): boolean => (node.status('report').job?.nextRunMs ?? 0) > at('2025-01-01T09:00:00Z')
    for (let minutes = 0; minutes < 31 && !isDue(); minutes += 1) await node.pass(60_000, 1_000)
    t.ok(isDue())
    t.same(ticksOf(node), [], 'it waits out its jitter')
    await node.supervisor.apply([hourly({ jitter: '1s' })])
    await planned(node)
    await node.pass(10_000, 100)
    t.same(ticksOf(node), ['09:00:00'])
    await node.supervisor.apply([hourly({ cron: '*/20 * * * *' })])
    await planned(node)
    t.equal(node.status('report').job?.nextRunMs, at('2025-01-01T09:20:00Z'), 'another schedule begins now')
    await node.pass(30_000, 1_000)
    t.same(ticksOf(node), ['09:00:00'])
  })

  await t.test('runs each moment once when the clock is set back, and none twice when it is set forward', async (t) => {
    const { world, node } = await setUp(t)
    await node.pass(31 * 60_000, 1_000)
    t.same(ticksOf(node), ['09:00:00'])
    world.clock.setWall(at('2025-01-01T08:58:00Z'))
    await node.pass(5 * 60_000, 1_000)
    t.same(ticksOf(node), ['09:00:00'], 'nine comes again, and was dealt with')
    await node.pass(60 * 60_000, 1_000)
    t.same(ticksOf(node), ['09:00:00', '10:00:00'])
    world.clock.setWall(at('2025-01-01T12:30:00Z'))
    await node.pass(30_000, 1_000)
    t.same(ticksOf(node), ['09:00:00', '10:00:00'], 'what was skipped over was missed')
    t.match(node.events.at(-1), { type: 'run.missed', details: { count: '2' } })
    world.clock.setWall(at('2024-12-31T12:59:00Z'))
    await node.pass(2 * 60_000, 1_000)
    t.ok(ticksOf(node).includes('13:00:00'), 'a clock that was a day ahead is corrected, and the schedule goes on')
  })

  await t.test('leaves out a moment when its terms forbid a run, and says so', async (t) => {
    const { world, node } = await setUp(t)
    world.host.play(() => ({}))
    await node.supervisor.apply([
      { ...hourly(), config: { ...hourly().config, job: job({ job: { concurrency: 'forbid' } }).config.job } },
    ])
    await node.pass(2 * 3_600_000, 1_000)
    t.same(ticksOf(node), ['09:00:00'])
    t.match(
      node.events.find(({ type }) => type === 'run.skipped'),
      { cause: /forbid/, details: { tick: /T10:00/ } },
    )
  })

  await t.test('waits a random time within its jitter', async (t) => {
    const { node } = await setUp(t, { jitter: '10m' })
    await node.pass(3 * 3_600_000, 1_000)
    const waits = node.supervisor.jobs.runs('report').map(({ startedAtMs, tickMs = 0 }) => startedAtMs - tickMs)
    t.ok(
      waits.every((ms) => ms >= 0 && ms <= 601_000),
      waits.join(),
    )
    t.ok(new Set(waits).size > 1, 'not the same each time')
  })

  await t.test('that is taken out of the configuration runs nothing more', async (t) => {
    const { world, node } = await setUp(t)
    await node.supervisor.apply([job()])
    await node.pass(2 * 3_600_000, 10_000)
    t.equal(world.host.spawned.length, 0)
    t.equal(node.status('report').job?.nextRunMs, undefined)
  })
})

t.test('a run', async (t) => {
  await t.test('that is ended before it has begun starts nothing', async (t) => {
    const world = new World(t)
    const node = await world.supervise([job()])
    let open = (): void => undefined
    world.host.lookGate = new Promise<void>((resolve) => {
      open = resolve
    })
    const started = node.supervisor.jobs.run('report', [], ASKER)
    await node.pass(50)
    const stopped = node.supervisor.stopUnit('report', GONE)
    await node.pass(50)
    open()
    await passUntil(node, stopped)
    await passUntil(node, started)
    t.match(runsOf(node), [/^stopped 0/])
    t.same(world.host.spawned, [])
  })

  await t.test('ends for whoever waits for it, though what it left cannot be deleted', async (t) => {
    const world = new World(t)
    const store = simStore(world.disk)
    const broken = { ...store, delete: async () => Promise.reject(new Error('EIO')) }
    const node = await world.supervise([job()], { store: broken })
    await finish(node, await begin(node))
    t.match(runsOf(node), [/^completed 1/])
    t.ok(node.log.entries.some(({ level }) => level === 'error'))
    await passUntil(node, node.supervisor.stop())
  })
})
