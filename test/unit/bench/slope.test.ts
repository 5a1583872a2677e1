import t from 'tap'
import { slopeOf } from '../../../bench/slope.ts'

t.test('the slope of a line, and how sure it is', async (t) => {
  t.same(
    slopeOf([
      [0, 1],
      [1, 3],
      [2, 5],
    ]),
    { slope: 2, error: 0 },
  )
  const { slope, error } = slopeOf([
    [0, 0],
    [1, 1],
    [2, 0],
    [3, 1],
  ])
  t.ok(Math.abs(slope - 0.2) < 1e-9)
  t.ok(Math.abs(error - Math.sqrt(0.8 / 2 / 5)) < 1e-9)
})
