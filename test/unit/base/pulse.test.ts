import t from 'tap'
import { createPulse } from '../../../src/base/pulse.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

/** A pulse whose steps say `dueMs` and are noted with their time. */
function pulse(dueMs: () => number) {
  const clock = new SimClock()
  const stepsMs: number[] = []
  const faults: unknown[] = []
  const times = { busyMs: 100, calmMs: 1_000, jitter: 0 }
  const step = (): number => {
    stepsMs.push(clock.nowMs())
    return dueMs()
  }
  const onError = (error: unknown): void => void faults.push(error)
  const end = new AbortController()
  const made = createPulse(step, { ...times, clock, random: seeded(1), onError })
  return { clock, stepsMs, faults, hurry: () => made.hurry(), end: () => end.abort(), ended: made.run(end.signal) }
}

t.test('rests for as long as the step says, between the shortest rest and the longest', async (t) => {
  const due = [0, 400, Infinity, Infinity]
  const { clock, stepsMs, end, ended } = pulse(() => due.shift() ?? Infinity)
  await clock.advance(1_600)
  t.same(stepsMs, [0, 100, 500, 1_500])
  end()
  await ended
  await clock.advance(5_000)
  t.equal(stepsMs.length, 4, 'nothing happens after its end')
})

t.test(
  'what happens in a rest is dealt with after the shortest rest, together with what follows at once',
  async (t) => {
    const { clock, stepsMs, hurry, end, ended } = pulse(() => Infinity)
    await clock.advance(500)
    hurry()
    await clock.advance(50)
    hurry()
    await clock.advance(50)
    t.same(stepsMs, [0, 600])
    await clock.advance(1_000)
    t.same(stepsMs, [0, 600, 1_600], 'then all is calm again')
    hurry()
    end()
    await ended
    t.equal(stepsMs.length, 3)
  },
)

t.test('a step that fails is told and tried again', async (t) => {
  const { clock, stepsMs, faults, end, ended } = pulse(() => {
    throw new Error('no')
  })
  await clock.advance(250)
  t.equal(stepsMs.length, 3)
  t.equal(faults.length, 3)
  end()
  await ended
})
