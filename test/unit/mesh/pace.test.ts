import t from 'tap'
import { createPace, patience } from '../../../src/mesh/detector/pace.ts'
import { suspicionMinMs, suspicionMs, newSuspicion } from '../../../src/mesh/detector/suspicion.ts'
import { lan } from '../../../src/mesh/presets.ts'
import { seeded } from '../../../src/sim/seeded.ts'

t.test('a fast network is as fast as the preset says, whatever it does now and then', async (t) => {
  const pace = createPace(200)
  t.equal(pace.of('a'), 3, 'nobody has answered yet')
  pace.note('a', 1)
  t.equal(pace.of('a'), 1, 'one fast answer will do')
  pace.note('slow', 60)
  t.equal(pace.of('slow'), 3, 'one slow answer will not')
  pace.forget('slow')
  for (let answer = 0; answer < 50; answer += 1) pace.note('a', 1 + (answer % 3))
  t.equal(pace.of('a'), 1)
  t.equal(pace.of('b'), 1)
  pace.note('a', 180)
  t.ok(pace.of('a') <= 1.1, 'a single late answer within the time changes next to nothing')
})

t.test('on a line that loses a tenth, timeouts are those in which nearly all answers come', async (t) => {
  const pace = createPace(200)
  const random = seeded(1)
  let inTime = 0
  for (let answer = 0; answer < 2_000; answer += 1) {
    let ms = 100
    for (let wait = 200; random.next() < 0.19 && wait < 2_000; wait *= 2) ms += wait
    if (answer >= 100 && ms <= 200 * pace.of('a')) inTime += 1
    pace.note('a', ms)
  }
  t.ok(inTime >= 0.95 * 1_900, `${inTime} of 1,900`)
  t.ok(pace.of('a') >= 2)
  t.equal(pace.of('new'), pace.of('a'), 'one that is new is taken for like the others')
})

t.test(
  'it is bounded, the fast member among slow ones is like the median one, and a calm network is fast again',
  async (t) => {
    const pace = createPace(200)
    for (const slow of ['a', 'b', 'c']) pace.note(slow, 60_000)
    pace.note('d', 1)
    t.same([pace.of('a'), pace.of('d')], [6, 6])
    for (const each of ['a', 'b', 'c']) pace.forget(each)
    t.equal(pace.of('d'), 1)
    pace.note('e', 1_000)
    for (let answer = 0; answer < 60; answer += 1) pace.note('e', 1)
    t.equal(pace.of('e'), 1)
  },
)

t.test('one slow answer while a member starts is forgotten after some thirty more', async (t) => {
  const pace = createPace(200)
  pace.note('fresh', 700)
  t.equal(pace.of('fresh'), 6)
  for (let answer = 0; answer < 30; answer += 1) pace.note('fresh', 2)
  t.equal(pace.of('fresh'), 1)
})

t.test('what a member was asked while it was dead says nothing of the network', async (t) => {
  const pace = createPace(200)
  for (let answer = 0; answer < 20; answer += 1) pace.note('a', 1, answer)
  pace.renew('a', 1_000)
  pace.note('a', 800, 999)
  pace.note('a', 1, 1_001)
  t.equal(pace.of('a'), 1)
  pace.note('a', 800, 1_002)
  t.ok(pace.of('a') > 3, 'what it is asked from then on does')
})

t.test('a slow node on a slow network has patience within a bound', async (t) => {
  t.equal(patience(1, 1), 1)
  t.equal(patience(2, 3), 6)
  t.equal(patience(8, 6), 8)
})

t.test('suspicions last longer by the same', async (t) => {
  t.equal(suspicionMinMs(10, lan, 3), 1_200)
  t.equal(suspicionMs(newSuspicion(0), 10, lan, 2), 4_800)
  t.equal(suspicionMs(newSuspicion(0), 2, lan, 2), 2_400)
})
