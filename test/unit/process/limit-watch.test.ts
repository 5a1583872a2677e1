import t from 'tap'
import {
  createLimitWatch,
  type Crossing,
  UNWATCHED,
  type WatchRule,
  watchStep,
} from '../../../src/process/limits/watch.ts'

const RULE: WatchRule = { limit: 100, warn: 0.8, spikeMs: 5_000, sustainedMs: 30_000 }

/** What is told of `use`, one reading a second. */
function told(use: readonly number[], rule = RULE): string[] {
  const watch = createLimitWatch(new Map([['cpu', rule]]))
  return use.flatMap((cpu, second) =>
    watch.observe({ cpu }, second * 1_000).map(({ type }: Crossing) => `${second}s ${type}`),
  )
}

const times = (count: number, use: number): number[] => Array.from({ length: count }, () => use)

t.test('a spike shorter than the tolerance triggers nothing', async (t) => {
  t.same(told([10, 150, 150, 150, 10, 10]), [])
  t.same(told([10, ...times(5, 150), 10]), [], 'over from 1 s to 5 s')
})

t.test('the warning, the excess and its consequence are told once each, when each has lasted', async (t) => {
  t.same(told(times(60, 150)), ['5s near', '5s exceeded', '30s sustained'])
  t.same(told(times(60, 90)), ['5s near'])
})

t.test('a break begins the time anew: what is not sustained has no consequence', async (t) => {
  t.same(told([...times(25, 150), 90, ...times(25, 150)]), ['5s near', '5s exceeded'])
})

t.test('one event a crossing, not a reading, however use goes up and down around the limit', async (t) => {
  t.same(told(Array.from({ length: 60 }, (_, second) => (second % 10 < 8 ? 101 : 99))), ['5s near', '5s exceeded'])
})

t.test(
  'only when use has been below the warning threshold it is told that the limit is kept, and all may be told again',
  async (t) => {
    const use = [...times(7, 150), 90, 79, ...times(7, 150)]
    t.same(told(use), ['5s near', '5s exceeded', '8s kept', '14s near', '14s exceeded'])
    t.same(told([...times(7, 90), 10]), ['5s near'], 'after a mere warning nothing is')
  },
)

t.test('without tolerance the first reading counts', async (t) => {
  t.same(told([79, 80, 100, 101], { ...RULE, spikeMs: 0, sustainedMs: 0 }), ['1s near', '3s exceeded', '3s sustained'])
})

t.test('when consequences come before the tolerance is over, the excess is told with them', async (t) => {
  t.same(told(times(4, 150), { ...RULE, sustainedMs: 2_000 }), ['2s exceeded', '2s sustained'])
})

t.test('each resource is watched by itself; one without a figure is passed over', async (t) => {
  const now: WatchRule = { ...RULE, spikeMs: 0, sustainedMs: 0 }
  const watch = createLimitWatch(
    new Map([
      ['memory', now],
      ['pids', { ...now, limit: 2 }],
    ]),
  )
  t.same(watch.observe({ pids: 1, cpu: 900 }, 0), [])
  t.same(
    watch.observe({ memory: 85, pids: 3 }, 1).map(({ resource, type, used, limit }) => [resource, type, used, limit]),
    [
      ['memory', 'near', 85, 100],
      ['pids', 'near', 3, 2],
      ['pids', 'exceeded', 3, 2],
      ['pids', 'sustained', 3, 2],
    ],
  )
})

t.test('a changed limit is watched from the start', async (t) => {
  const watch = createLimitWatch(new Map([['memory', { ...RULE, spikeMs: 0, sustainedMs: 0 }]]))
  t.equal(watch.observe({ memory: 120 }, 0).length, 3)
  watch.change('memory', 150)
  t.same(
    watch.observe({ memory: 120 }, 1).map(({ type }) => type),
    ['near'],
  )
  watch.change('cpu', 1)
})

t.test('a step changes nothing it was given', async (t) => {
  const { state } = watchStep(UNWATCHED, 150, 0, RULE)
  watchStep(state, 150, 10_000, RULE)
  t.same(state, { nearSinceMs: 0, overSinceMs: 0, told: [] })
  t.same(UNWATCHED.told, [])
})
