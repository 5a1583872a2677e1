import t from 'tap'
import { LastSeen } from '../../../src/base/last-seen.ts'
import { resumed } from '../../../src/base/resumed.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { until } from '../../support/until.ts'

/** A stream that gives what each try is scripted to give, and then breaks; the last one ends. */
function scripted(tries: readonly (readonly number[] | 'refused')[]) {
  let next = 0
  return async function* (): AsyncGenerator<number> {
    const what = tries[next]
    next += 1
    if (what === undefined || what === 'refused') throw new Error('refused')
    yield* what
    if (next < tries.length) throw new Error('broken')
  }
}

async function take(tries: readonly (readonly number[] | 'refused')[], withinMs?: number) {
  const clock = new SimClock()
  const breaks: string[] = []
  const taken: number[] = []
  const reading = (async () => {
    const options = {
      clock,
      signal: undefined,
      isBreak: (_error: unknown, seen: boolean) => seen,
      onBreak: (error: unknown) => breaks.push((error as Error).message),
      restMs: (attempt: number) => attempt * 1_000,
    }
    const stream = resumed(scripted(tries), withinMs === undefined ? options : { ...options, withinMs })
    for await (const item of stream) taken.push(item)
  })()
  let over = false
  const ended = reading.then(
    () => 'ended',
    (error: unknown) => (error as Error).message,
  )
  void ended.then(() => (over = true))
  await until('its end', async () => {
    await clock.advance(500)
    return over
  })
  return { taken, breaks, how: await ended, tookMs: clock.nowMs() }
}

t.test('a stream that breaks is opened again, and each break is told once', async (t) => {
  t.match(await take([[1, 2], [3], 'refused', 'refused', [4]]), {
    taken: [1, 2, 3, 4],
    breaks: ['broken', 'broken'],
    how: 'ended',
  })
})

t.test('it is tried so long as was said, and then fails with the last reason', async (t) => {
  const { taken, how, tookMs } = await take([[1], ...Array.from({ length: 99 }, () => 'refused' as const)], 10_000)
  t.same(taken, [1])
  t.equal(how, 'refused')
  t.ok(tookMs > 10_000 && tookMs < 20_000, `after ${tookMs} ms`)
})

t.test('what is no break is thrown at once', async (t) => {
  t.match(await take(['refused', [1]]), { taken: [], breaks: [], how: 'refused' })
})

t.test('the key longest not noted is forgotten first', async (t) => {
  const seen = new LastSeen<number>(2)
  seen.note('a', 1)
  seen.note('b', 2)
  seen.note('a', 3)
  seen.note('c', 4)
  t.same(seen.all, [3, 4])
})
