import t from 'tap'
import { CallTap, CallWatch, type EndedCalls } from '../../../src/rpc/router/call-watch.ts'
import { ALL_CALLS, type EndedCall, isOfInterest, traceOf, unionOf } from '../../../src/rpc/router/ended-call.ts'
import { endedCall } from '../../support/ended-call.ts'
import { seeded } from '../../../src/sim/seeded.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SAMPLED = `00-${TRACE}-b7ad6b7169203331-01`

const call = (values: Partial<EndedCall> = {}): EndedCall => endedCall({ chance: 0.5, ...values })

/** A turn of which the test says when it comes. */
function handTurn() {
  const tasks: (() => void)[] = []
  return {
    turn: {
      soon: (task: () => void) => void tasks.push(task),
      after: (_: number, task: () => void) => void tasks.push(task),
    },
    comes: (): void => tasks.splice(0).forEach((task) => task()),
    tasks,
  }
}

t.test('a traceparent is read as W3C Trace Context has it', async (t) => {
  t.same(traceOf(SAMPLED), { traceId: TRACE, parentId: 'b7ad6b7169203331', sampled: true })
  t.equal(traceOf(SAMPLED.replace(/01$/, '00'))?.sampled, false)
  t.equal(traceOf(SAMPLED.replace(/01$/, '03'))?.sampled, true)
  t.equal(traceOf(`01-${TRACE}-b7ad6b7169203331-01-more`)?.sampled, true, 'a later version may have more')
  for (const bad of [
    '',
    `ff-${TRACE}-b7ad6b7169203331-01`,
    `00-${TRACE}-b7ad6b7169203331-01-more`,
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    SAMPLED.toUpperCase(),
  ]) {
    t.equal(traceOf(bad), undefined, bad)
  }
})

t.test('who wants which calls', async (t) => {
  const tenth = { share: 0.1, failed: true, traced: false }
  t.notOk(isOfInterest(call(), tenth))
  t.ok(isOfInterest(call({ chance: 0.05 }), tenth))
  t.ok(isOfInterest(call({ status: 14 }), tenth))
  t.ok(isOfInterest(call({ traceparent: SAMPLED }), { share: 0, failed: false, traced: true }))
  t.notOk(isOfInterest(call({ chance: 0 }), { share: 0, failed: true, traced: true }))
  t.equal(unionOf([]), undefined)
  t.same(unionOf([tenth, { share: 0.5, failed: false, traced: true }]), { share: 0.5, failed: true, traced: true })
})

t.test('nothing is gathered while nobody looks', async (t) => {
  const { turn, tasks } = handTurn()
  const tap = new CallTap({ turn, random: seeded(1) }, () => t.fail('nobody wants to know'))
  tap.add(call())
  t.equal(tasks.length, 0)
  tap.flush()
})

t.test('calls are told together; those beyond the bound are counted', async (t) => {
  const { turn, comes } = handTurn()
  const told: EndedCalls[] = []
  const tap = new CallTap({ turn, random: seeded(1) }, (ended) => told.push(ended))
  tap.interest = ALL_CALLS
  for (let at = 0; at < 4_500; at += 1) tap.add(call())
  t.equal(told.length, 0)
  comes()
  t.match(told, [{ lost: 500 }])
  t.equal(told[0]?.calls.length, 4_000)
  tap.add(call())
  comes()
  t.match(told[1], { lost: 0, calls: [{ unit: 'shop' }] })
})

t.test('each watcher sees what it asked for, and all ask for what one wants', async (t) => {
  const wanted: unknown[] = []
  const watch = new CallWatch((interest) => wanted.push(interest))
  const seen: string[] = []
  const failures = { share: 0, failed: true, traced: false }
  const endAll = watch.watch(ALL_CALLS, ({ calls }) => seen.push(`all ${calls.length}`))
  const endFailed = watch.watch(failures, ({ calls, lost }) => seen.push(`failed ${calls.length} ${lost}`))
  watch.publish({ calls: [call(), call({ status: 14 })], lost: 0 })
  endAll()
  watch.publish({ calls: [call()], lost: 0 })
  watch.publish({ calls: [], lost: 3 })
  endFailed()
  endFailed()
  t.same(seen, ['all 2', 'failed 1 0', 'failed 0 3'])
  t.same(wanted, [ALL_CALLS, { share: 1, failed: true, traced: false }, failures, undefined])
})
