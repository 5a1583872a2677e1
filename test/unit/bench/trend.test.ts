import t from 'tap'
import { trendOf } from '../../../bench/soak/trend.ts'
import { seeded } from '../../../src/sim/seeded.ts'

t.test('a line is found as it is', (t) => {
  const { slope, within } = trendOf([0, 1, 2, 3, 4].map((x) => ({ x, y: 3 + 2 * x })))
  t.equal(slope, 2)
  t.equal(within, 0)
  const { slope: least } = trendOf([0, 1, 0, 1].map((y, x) => ({ x, y })))
  t.ok(Math.abs(least - 0.2) < 1e-9)
  t.end()
})

t.test('the interval holds the slope that is there, also of readings that are like their neighbours', (t) => {
  const random = seeded(7)
  let held = 0
  for (let run = 0; run < 200; run += 1) {
    let drift = 0
    const points = Array.from({ length: 240 }, (_, x) => {
      drift = 0.8 * drift + random.next() - 0.5
      return { x, y: 0.01 * x + drift }
    })
    const { slope, within } = trendOf(points)
    if (Math.abs(slope - 0.01) <= within) held += 1
  }
  t.ok(held >= 176 && held < 200, `the interval of 95 % held the slope in ${held} of 200 runs`)
  t.end()
})
