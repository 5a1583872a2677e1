import t from 'tap'
import { createInFlight } from '../../../src/rpc/router/in-flight.ts'
import { pick, type PickTerms } from '../../../src/rpc/router/pick.ts'
import { endpoint } from '../../support/literal-world.ts'
import { seeded } from '../../../src/sim/seeded.ts'

const at = (instance: string, nodeId: string) => endpoint({ instance, nodeId })
const on = (preferredNodeId: string | undefined): PickTerms => ({
  policy: 'least-request',
  preferredNodeId,
  spillOver: 100,
  key: undefined,
  turn: { next: -1 },
})
const idle = { random: seeded(1), inFlight: () => 0, avoid: () => false }

t.test('pick', async (t) => {
  t.test('has nothing to choose from nothing', async (t) => {
    t.equal(pick([], on('n1'), idle), undefined)
  })

  t.test('this host goes first', async (t) => {
    const candidates = [at('a', 'n2'), at('b', 'n1'), at('c', 'n3')]
    for (let turn = 0; turn < 50; turn += 1) t.equal(pick(candidates, on('n1'), idle)?.instance, 'b')
  })

  t.test('without a preferred host all get their share', async (t) => {
    const candidates = [at('a', 'n2'), at('b', 'n1'), at('c', 'n3')]
    const counts = new Map<string, number>()
    for (let turn = 0; turn < 3_000; turn += 1) {
      const { instance } = pick(candidates, on(undefined), idle) ?? at('none', '')
      counts.set(instance, (counts.get(instance) ?? 0) + 1)
    }
    for (const [instance, count] of counts) t.ok(count > 850 && count < 1_150, `${instance}: ${count}`)
    t.equal(counts.size, 3)
  })

  t.test('of two, the less busy is taken', async (t) => {
    const candidates = [at('busy', 'n1'), at('free', 'n1')]
    const inFlight = (instance: string): number => (instance === 'busy' ? 3 : 2)
    for (let turn = 0; turn < 50; turn += 1)
      t.equal(pick(candidates, on('n1'), { ...idle, inFlight })?.instance, 'free')
  })

  t.test('the busiest of many is never taken, and others than the least busy are', async (t) => {
    const candidates = ['0', '1', '2', '3'].map((instance) => at(instance, 'n1'))
    const taken = new Set<string>()
    for (let turn = 0; turn < 200; turn += 1) {
      taken.add(pick(candidates, on('n1'), { ...idle, inFlight: Number })?.instance ?? '')
    }
    t.same([...taken].sort(), ['0', '1', '2'])
  })

  t.test('what has just failed is avoided, even when the others are far, unless there is no other', async (t) => {
    const candidates = [at('near', 'n1'), at('far', 'n2')]
    const avoid = ({ instance }: { instance: string }): boolean => instance === 'near'
    t.equal(pick(candidates, on('n1'), { ...idle, avoid })?.instance, 'far')
    t.equal(pick(candidates, on('n1'), { ...idle, avoid: () => true })?.instance, 'near')
  })
})

t.test('calls in flight', async (t) => {
  const signal = new AbortController().signal

  t.test('are counted in and out', async (t) => {
    const calls = createInFlight()
    calls.add('a', 1)
    calls.add('a', 1)
    t.equal(calls.of('a'), 2)
    calls.add('a', -1)
    t.equal(calls.of('a'), 1)
    calls.add('a', -1)
    t.equal(calls.of('a'), 0)
    await calls.drained('a', signal)
  })

  t.test('drained waits for the last one, also for one that comes while waiting', async (t) => {
    const calls = createInFlight()
    calls.add('a', 1)
    calls.add('b', 1)
    let drained = false
    const waiting = calls.drained('a', signal).then(() => {
      drained = true
    })
    calls.add('a', 1)
    calls.add('a', -1)
    await Promise.resolve()
    t.notOk(drained)
    calls.add('a', -1)
    await waiting
    t.ok(drained)
  })

  t.test('drained gives up when told', async (t) => {
    const calls = createInFlight()
    calls.add('a', 1)
    const stop = new AbortController()
    const waiting = calls.drained('a', stop.signal)
    stop.abort(new Error('enough'))
    await t.rejects(waiting, { message: 'enough' })
  })
})
