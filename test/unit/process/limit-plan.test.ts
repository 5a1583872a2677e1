import t from 'tap'
import { z } from 'zod'
import { limits } from '../../../src/process/config/limits.ts'
import type { LimitsConfig } from '../../../src/process/config.ts'
import { capsOf, type LimitMeans, MAX_RAISES, planLimits, watchRules } from '../../../src/process/limits/plan.ts'
import type { Resource } from '../../../src/process/limits/resources.ts'

const MIB = 1024 ** 2

const config = (raw: z.input<typeof limits>): LimitsConfig => limits.parse(raw)

const means = (enforced: readonly Resource[], more: Partial<LimitMeans['kernel']> = {}): LimitMeans => ({
  kernel: {
    enforces: new Map(enforced.map((resource) => [resource, `kernel ${resource}`])),
    slowsMemory: false,
    ...more,
  },
  watchable: new Set(['memory', 'cpu', 'pids']),
})

const ALL = means(['memory', 'cpu', 'pids', 'files', 'io.read', 'io.write'])
const NONE = means([])

const short = (raw: z.input<typeof limits>, by: LimitMeans, raises = {}) =>
  planLimits(config(raw), by, raises).map(({ resource, mode, cap, action }) => [resource, mode, cap, action])

t.test('without on_exceed the kernel holds a unit to all it can', async (t) => {
  t.same(short({ memory: '64MiB', cpu: 0.5, pids: 10, files: 100, io: { read: '1MiB', write: '2MiB' } }, ALL), [
    ['memory', 'enforced', 64 * MIB, undefined],
    ['cpu', 'enforced', 0.5, undefined],
    ['pids', 'enforced', 10, undefined],
    ['files', 'enforced', 100, undefined],
    ['io.read', 'enforced', MIB, undefined],
    ['io.write', 'enforced', 2 * MIB, undefined],
  ])
  t.same(short({}, ALL), [])
})

t.test('what the kernel cannot do is watched and acted on; what cannot be measured is unsupported', async (t) => {
  t.same(short({ memory: '64MiB', cpu: 0.5, pids: 10, files: 100, io: { read: '1MiB' } }, NONE), [
    ['memory', 'watched', undefined, 'restart'],
    ['cpu', 'watched', undefined, 'alert'],
    ['pids', 'watched', undefined, 'alert'],
    ['files', 'unsupported', undefined, undefined],
    ['io.read', 'unsupported', undefined, undefined],
  ])
})

t.test(
  'who says what is to be done is not overtaken by the kernel, except where a moment would harm the host',
  async (t) => {
    const raw = { memory: '64MiB', cpu: 0.5, pids: 10 }
    for (const on_exceed of ['log', 'alert'] as const) {
      t.same(short({ ...raw, on_exceed }, ALL), [
        ['memory', 'watched', undefined, on_exceed],
        ['cpu', 'watched', undefined, on_exceed],
        ['pids', 'watched', undefined, on_exceed],
      ])
    }
    for (const on_exceed of ['restart', 'stop', 'kill'] as const) {
      t.same(short({ ...raw, on_exceed }, ALL), [
        ['memory', 'watched', undefined, on_exceed],
        ['cpu', 'watched', undefined, on_exceed],
        ['pids', 'enforced', 10, on_exceed],
      ])
    }
  },
)

t.test('on_exceed may differ from limit to limit', async (t) => {
  t.same(short({ memory: '64MiB', cpu: 0.5, pids: 10, on_exceed: { memory: 'restart', cpu: 'log' } }, ALL), [
    ['memory', 'watched', undefined, 'restart'],
    ['cpu', 'watched', undefined, 'log'],
    ['pids', 'enforced', 10, undefined],
  ])
})

t.test(
  'throttling is what the kernel does with time and traffic; with memory where it can, else the node does',
  async (t) => {
    const throttled = config({ memory: '64MiB', cpu: 0.5, on_exceed: 'throttle' })
    t.same(short({ memory: '64MiB', cpu: 0.5, on_exceed: 'throttle' }, ALL), [
      ['memory', 'watched', undefined, 'throttle'],
      ['cpu', 'enforced', 0.5, undefined],
    ])
    const soft = means(['memory', 'cpu'], { slowsMemory: true })
    const plans = planLimits(throttled, soft)
    t.match(plans[0], { mode: 'enforced', cap: undefined, action: undefined })
    t.same(capsOf(plans, soft, throttled), { cpu: 0.5, memorySoft: 64 * MIB })
  },
)

t.test('a limit is raised by its factor so often and no more; then it is one like any other', async (t) => {
  const raw = { memory: '64MiB', pids: 10, on_exceed: 'raise', raise_factor: 2 } as const
  t.same(short(raw, ALL), [
    ['memory', 'watched', undefined, 'raise'],
    ['pids', 'watched', 80, 'raise'],
  ])
  t.equal(planLimits(config(raw), ALL, { memory: 1 })[0]?.value, 128 * MIB)
  t.match(planLimits(config(raw), ALL, { memory: MAX_RAISES })[0], {
    value: 512 * MIB,
    mode: 'enforced',
    cap: 512 * MIB,
    action: undefined,
  })
  t.equal(planLimits(config(raw), ALL, { memory: MAX_RAISES + 5 })[0]?.value, 512 * MIB)
})

t.test('caps are what the kernel is asked for and nothing else', async (t) => {
  const asked = config({ memory: '64MiB', pids: 10, on_exceed: 'restart' })
  t.same(capsOf(planLimits(asked, ALL), ALL, asked), { pids: 10 })
})

t.test('a limit the kernel holds to is exceeded, for those who act on it, when it is reached', async (t) => {
  const acting = config({ pids: 10, on_exceed: 'restart' })
  t.equal(watchRules(planLimits(acting, ALL), acting).get('pids')?.limit, 9)
  const held = config({ pids: 10, files: 5 })
  t.same([...watchRules(planLimits(held, ALL), held).keys()], ['pids'], 'files of a tree say nothing of each process')
  t.equal(watchRules(planLimits(held, ALL), held).get('pids')?.limit, 10)
  const measured = config({ memory: '64MiB', files: 7 })
  t.same([...watchRules(planLimits(measured, NONE), measured).keys()], ['memory'])
})

t.test('wrong limits are refused', async (t) => {
  for (const raw of [
    { cpu: 0 },
    { on_exceed: 'explode' },
    { on_exceed: { memory: 'no' } },
    { raise_factor: 1 },
    { io: { copy: '1MiB' } },
  ])
    t.notOk(limits.safeParse(raw).success, JSON.stringify(raw))
})
