import t from 'tap'
import type { Caps, Cell, CellReading } from '../../../src/process/limits/backend.ts'
import { LimitKeeper, type LimitNews } from '../../../src/process/limits/keeper.ts'
import { type LimitMeans, planLimits } from '../../../src/process/limits/plan.ts'
import { RESOURCES, type Resource } from '../../../src/process/limits/resources.ts'
import type { Usage } from '../../../src/process/usage.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const MIB = 1024 ** 2
const NO_USAGE: Usage = { cpu: 0, cpuMs: 0, rssBytes: 0, processes: 1 }
const KERNEL: ReadonlyMap<Resource, string> = new Map([
  ['memory', 'cgroup v1 memory'],
  ['cpu', 'cgroup v1 cpu'],
  ['pids', 'cgroup v1 pids'],
])

type Limits = Parameters<typeof unitSpec>[1]['limits']

/** A keeper of one instance, and what it told and did; one reading a second. */
function kept(limits: Limits, { kernel = KERNEL, refusal }: { kernel?: typeof KERNEL; refusal?: Error } = {}) {
  const clock = new SimClock()
  const log = memoryLog()
  const { config } = unitSpec('api', { run: ['api'], limits: { spike: '0s', sustained: '3s', ...limits } })
  const means: LimitMeans = { kernel: { enforces: kernel, slowsMemory: false }, watchable: new Set(RESOURCES) }
  const [told, ends, held]: [LimitNews[], string[], Caps[]] = [[], [], []]
  const raises: Partial<Record<Resource, number>> = {}
  const reading: { -readonly [K in keyof CellReading]: CellReading[K] } = {}
  const cell: Cell = {
    places: [],
    gathers: true,
    hold: async (caps) => {
      if (refusal !== undefined) throw refusal
      held.push(caps)
    },
    enter: async () => undefined,
    prelude: () => '',
    pids: async () => [],
    kill: async () => undefined,
    freeze: async () => undefined,
    read: async () => reading,
    remove: async () => true,
  }
  const plans = () => planLimits(config.limits, means, raises)
  const keeper = new LimitKeeper(
    {
      clock,
      log,
      tell: (news) => `event-${told.push(news)}`,
      end: (how, reason, causedBy) => void ends.push(`${how} ${causedBy} ${reason}`),
      raise: (resource) => {
        raises[resource] = (raises[resource] ?? 0) + 1
        return plans()
      },
    },
    { config: config.limits, means, plans: plans(), cell },
  )
  const use = async (usage: Partial<Usage>, seconds = 1): Promise<void> => {
    for (let second = 0; second < seconds; second += 1) {
      await keeper.observe({ ...NO_USAGE, ...usage })
      await clock.advance(1_000)
    }
  }
  const types = (): string[] => told.map(({ type }) => type)
  return { keeper, use, reading, told, types, ends, held, clock, log }
}

const OVER = { rssBytes: 80 * MIB }
const UNDER = { rssBytes: 10 * MIB }

t.test('the instance is ended once, when the limit was exceeded for as long as has consequences', async (t) => {
  for (const on_exceed of ['restart', 'stop', 'kill'] as const) {
    const { use, ends, types } = kept({ memory: '64MiB', on_exceed })
    await use(OVER, 3)
    t.same(ends, [], 'not yet')
    await use(OVER, 10)
    t.same(ends, [`${on_exceed} event-1 memory limit of 64.0MiB exceeded (resource_limit): uses 80.0MiB`])
    t.same(types(), ['unit.limit_exceeded'])
  }
})

t.test('two limits that are exceeded at once end the instance once', async (t) => {
  const { use, ends } = kept({ memory: '64MiB', cpu: 1, on_exceed: 'restart' })
  await use({ ...OVER, cpu: 3 }, 10)
  t.match(ends, [/memory limit/])
  t.equal(ends.length, 1)
})

t.test('log and alert differ in the level of the log and end nothing', async (t) => {
  for (const [on_exceed, level] of [
    ['log', 'info'],
    ['alert', 'warn'],
  ] as const) {
    const { use, ends, told, log } = kept({ memory: '64MiB', on_exceed })
    await use(OVER, 60)
    t.same(ends, [])
    t.match(told, [
      {
        type: 'unit.limit_exceeded',
        reason: 'uses 80.0MiB, over the memory limit of 64.0MiB',
        details: { kind: 'resource_limit', resource: 'memory', limit: String(64 * MIB), action: on_exceed },
      },
    ])
    t.same(
      log.entries.map((entry) => entry.level),
      [level],
    )
  }
})

t.test('each crossing is one event; the next is told when use has been below the warning in between', async (t) => {
  const { use, types } = kept({ memory: '64MiB', on_exceed: 'alert' })
  await use({ rssBytes: 60 * MIB }, 5)
  await use(OVER, 5)
  await use(UNDER, 5)
  await use(OVER, 5)
  t.same(types(), ['unit.limit_near', 'unit.limit_exceeded', 'unit.limit_kept', 'unit.limit_exceeded'])
})

t.test('raise lifts the limit three times and holds it then', async (t) => {
  const { use, told, held } = kept({ memory: '64MiB', on_exceed: 'raise', raise_factor: 2 })
  for (const mib of [80, 160, 300, 600]) await use({ rssBytes: mib * MIB }, 5)
  t.same(
    told.filter(({ type }) => type === 'unit.limit_raised').map(({ reason }) => reason),
    [128, 256, 512].map((mib) => `memory limit raised to ${mib}.0MiB`),
  )
  t.same(
    held.map(({ memory }) => memory),
    [undefined, undefined, 512 * MIB],
    'the kernel holds the last one',
  )
})

t.test('memory is throttled by processor time where the kernel cannot, until less is used', async (t) => {
  const { use, types, held } = kept({ memory: '64MiB', cpu: 2, on_exceed: { memory: 'throttle' } })
  await use(OVER, 5)
  await use(UNDER, 2)
  t.same(types(), ['unit.limit_exceeded', 'unit.limit_throttled', 'unit.limit_kept'])
  t.same(
    held.map(({ cpu }) => cpu),
    [0.1, 2],
    'then as configured',
  )
})

t.test('where nothing can be throttled, that is said', async (t) => {
  const { use, types, log } = kept({ memory: '64MiB', on_exceed: 'throttle' }, { kernel: new Map() })
  await use(OVER, 5)
  t.same(types(), ['unit.limit_exceeded'])
  t.ok(log.entries.some(({ message }) => message.startsWith('this host cannot throttle')))
})

t.test('a kernel that refuses to throttle is named in the log, and the limit is watched on', async (t) => {
  const { use, types, log } = kept({ memory: '64MiB', on_exceed: 'throttle' }, { refusal: new Error('EBUSY') })
  await use(OVER, 5)
  await use(UNDER)
  t.same(types(), ['unit.limit_exceeded', 'unit.limit_kept'])
  t.ok(log.entries.some(({ message }) => message === 'the kernel did not take the limits of a unit'))
})

t.test('what the kernel counts goes before the sum over processes', async (t) => {
  const { keeper, use, reading, types } = kept({ memory: '64MiB', on_exceed: 'alert' })
  reading.memory = 30 * MIB
  await use(OVER, 5)
  t.same(types(), [])
  t.equal(keeper.status[0]?.used, 30 * MIB)
})

t.test('of a limit that the kernel holds only its nearness is told', async (t) => {
  const { use, types } = kept({ memory: '64MiB' })
  await use({ rssBytes: 60 * MIB }, 3)
  await use({ rssBytes: 65 * MIB }, 60)
  t.same(types(), ['unit.limit_near'])
})

t.test('a kill by the kernel is told when it is counted, and taken for the end that follows it', async (t) => {
  const { keeper, use, reading, told } = kept({ memory: '64MiB' })
  reading.oomKills = 0
  await use(UNDER)
  reading.oomKills = 1
  t.same(await keeper.ended({ signal: 'SIGKILL' }), {
    reason: 'memory limit of 64.0MiB exceeded (resource_limit): ended by the kernel',
    causedBy: 'event-1',
  })
  t.match(told, [{ type: 'unit.limit_exceeded', details: { source: 'kernel', kills: '1', kind: 'resource_limit' } }])
})

t.test('a kill of a helper is told and not taken for a later end', async (t) => {
  const { keeper, use, reading, types } = kept({ memory: '64MiB' })
  reading.oomKills = 1
  await use(UNDER, 10)
  t.same(types(), ['unit.limit_exceeded'])
  t.equal(await keeper.ended({ signal: 'SIGKILL' }), undefined, 'too long ago')
  const other = kept({ memory: '64MiB' })
  other.reading.oomKills = 1
  await other.use(UNDER)
  t.equal(await other.keeper.ended({ code: 1 }), undefined, 'it ended by itself')
})

t.test('a kill without a limit is one by a host without memory', async (t) => {
  const { keeper, reading } = kept({ cpu: 1 })
  reading.oomKills = 1
  t.match(await keeper.ended({ signal: 'SIGKILL' }), { reason: /^the host ran out of memory/ })
})

t.test('after the end nothing is observed any more', async (t) => {
  const { keeper, use, types } = kept({ memory: '64MiB', on_exceed: 'kill' })
  await keeper.ended({ code: 0 })
  await use(OVER, 60)
  t.same(types(), [])
})
