import fc from 'fast-check'
import t from 'tap'
import { routeSchema } from '../../../src/rpc/config.ts'
import { DEFAULT_EJECTION } from '../../../src/rpc/default-route.ts'
import type { Endpoint } from '../../../src/rpc/endpoint-source.ts'
import { CallLimits } from '../../../src/rpc/router/call-limits.ts'
import { Ejector } from '../../../src/rpc/router/ejection.ts'
import { pickByHash } from '../../../src/rpc/router/hash.ts'
import { methodTerms } from '../../../src/rpc/router/method-terms.ts'
import { pick, type PickTerms } from '../../../src/rpc/router/pick.ts'
import { RetryBudget } from '../../../src/rpc/router/retry-budget.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const endpoint = (replica: number, nodeId = 'self'): Endpoint => ({
  unit: 'api',
  instance: `api-${replica}-abc123`,
  nodeId,
  node: nodeId,
  address: `127.0.0.1:${5_000 + replica}`,
  ready: true,
  version: undefined,
})

const terms = (changes: Partial<PickTerms> = {}): PickTerms => ({
  policy: 'least-request',
  preferredNodeId: undefined,
  spillOver: 100,
  key: undefined,
  turn: { next: -1 },
  ...changes,
})

const idle = { random: seeded(1), inFlight: () => 0, avoid: () => false }

const TEN = Array.from({ length: 10 }, (_, replica) => endpoint(replica))

t.test('round-robin gives each of them its turn', async (t) => {
  const all = TEN.slice(0, 3)
  const turn = { next: -1 }
  const picks = Array.from({ length: 9 }, () => pick(all, terms({ policy: 'round-robin', turn }), idle)?.instance)
  t.same(
    picks,
    [...all, ...all, ...all].map(({ instance }) => instance),
  )
})

t.test('least-request gives 1,000 calls of equal length to all in equal parts', async (t) => {
  const load = new Map<string, number>()
  const seams = { ...idle, random: seeded(5), inFlight: (instance: string) => load.get(instance) ?? 0 }
  for (let call = 0; call < 1_000; call += 1) {
    const { instance = '' } = pick(TEN, terms(), seams) ?? {}
    load.set(instance, (load.get(instance) ?? 0) + 1)
  }
  const counts = [...load.values()]
  t.equal(counts.length, 10)
  t.ok(Math.max(...counts) - Math.min(...counts) <= 8, `between ${Math.min(...counts)} and ${Math.max(...counts)}`)
})

t.test('this host is preferred until it is busy', async (t) => {
  const near = endpoint(0, 'self')
  const far = endpoint(1, 'other')
  const load = new Map([[near.instance, 0]])
  const seams = { ...idle, inFlight: (instance: string) => load.get(instance) ?? 0 }
  const go = (): string | undefined =>
    pick([near, far], terms({ preferredNodeId: 'self', spillOver: 3 }), seams)?.nodeId
  t.same([go(), go(), go(), go()], ['self', 'self', 'self', 'self'])
  load.set(near.instance, 3)
  t.same(new Set(Array.from({ length: 20 }, go)), new Set(['other']), 'the less busy of two')
  t.equal(
    pick([near, endpoint(2, 'self')], terms({ preferredNodeId: 'self' }), { ...seams, avoid: (one) => one === near })
      ?.instance,
    'api-2-abc123',
  )
})

t.test('after this host its zone is preferred, until that is busy too', async (t) => {
  const here = endpoint(0, 'self')
  const around = { ...endpoint(1, 'near'), zone: 'hall-1' }
  const far = { ...endpoint(2, 'far'), zone: 'hall-2' }
  const load = new Map<string, number>()
  const seams = { ...idle, inFlight: (instance: string) => load.get(instance) ?? 0 }
  const wanted = { preferredNodeId: 'self', preferredZone: 'hall-1', spillOver: 3 }
  const places = (...from: Endpoint[]): Set<string | undefined> =>
    new Set(Array.from({ length: 20 }, () => pick(from, terms(wanted), seams)?.nodeId))
  t.same(places(here, around, far), new Set(['self']))
  t.same(places(around, far), new Set(['near']))
  load.set(here.instance, 3)
  t.same(places(here, around, far), new Set(['near']), 'spills over to its zone first')
  load.set(around.instance, 3)
  t.ok(places(here, around, far).has('far'), 'then all are equal')
  t.equal(
    pick([around, far], terms({ preferredNodeId: undefined, preferredZone: 'hall-1', policy: 'round-robin' }), idle)
      ?.nodeId,
    'near',
    'prefer: none',
  )
})

t.test('equal keys go to the same endpoint, and keys are spread', async (t) => {
  const counts = new Map<string, number>()
  for (let key = 0; key < 10_000; key += 1) {
    const chosen = pickByHash(TEN, `user-${key}`, () => 0)
    if (chosen !== pickByHash([...TEN].reverse(), `user-${key}`, () => 0)) t.fail(`user-${key} is not stable`)
    counts.set(chosen?.instance ?? '', (counts.get(chosen?.instance ?? '') ?? 0) + 1)
  }
  t.ok(
    [...counts.values()].every((count) => count > 800 && count < 1_200),
    [...counts.values()].join(),
  )
})

t.test('when an endpoint goes, only its keys move; when it is started anew, none', async (t) => {
  const gone = TEN[3]
  const rest = TEN.filter((each) => each !== gone)
  const renewed = TEN.map((each) => (each === gone ? { ...each, instance: 'api-3-fedcba' } : each))
  let moved = 0
  for (let key = 0; key < 2_000; key += 1) {
    const before = pickByHash(TEN, `user-${key}`, () => 0)
    const after = pickByHash(rest, `user-${key}`, () => 0)
    if (before !== after) {
      moved += 1
      if (before !== gone) t.fail(`user-${key} moved from ${before?.instance}`)
    }
    const again = pickByHash(renewed, `user-${key}`, () => 0)
    if (again?.address !== before?.address) t.fail(`user-${key} moved at a restart`)
  }
  t.ok(moved > 0)
})

t.test('no endpoint gets more than 1.25 times the mean, however the keys fall', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 300 }), (keys) => {
      const load = new Map<string, number>()
      for (const key of keys) {
        const { instance = '' } = pickByHash(TEN, `hot-${key}`, (one) => load.get(one) ?? 0) ?? {}
        load.set(instance, (load.get(instance) ?? 0) + 1)
      }
      return Math.max(...load.values()) <= Math.ceil((1.25 * (keys.length + 1)) / TEN.length)
    }),
  )
})

t.test('an endpoint that fails is out for a while, tried once, and out for longer when that fails too', async (t) => {
  const clock = new SimClock()
  const ejector = new Ejector(clock)
  const { ejection = DEFAULT_EJECTION } = routeSchema.parse({ ejection: { failures: 3, time: '1s..3s' } })
  const fail = (): void => ejector.note('a', 'failed', ejection)
  fail()
  fail()
  ejector.note('a', 'answered', ejection)
  fail()
  fail()
  t.equal(ejector.stateOf('a'), 'closed', 'only failures in a row count')
  fail()
  t.equal(ejector.stateOf('a'), 'open')
  await clock.advance(1_000)
  t.equal(ejector.stateOf('a'), 'half-open')
  t.equal(ejector.isOut('a'), false)
  ejector.began('a')
  t.equal(ejector.isOut('a'), true, 'one call is its trial')
  fail()
  await clock.advance(1_999)
  t.equal(ejector.stateOf('a'), 'open', 'twice as long')
  await clock.advance(1)
  ejector.began('a')
  fail()
  await clock.advance(3_000)
  t.equal(ejector.stateOf('a'), 'half-open', 'never longer than the most')
  ejector.began('a')
  ejector.note('a', 'answered', ejection)
  t.equal(ejector.stateOf('a'), 'closed')
})

t.test('one that cannot be reached is out at once, and a trial that never ends is followed by another', async (t) => {
  const clock = new SimClock()
  const ejector = new Ejector(clock)
  ejector.note('a', 'unreachable', DEFAULT_EJECTION)
  t.equal(ejector.isOut('a'), true)
  await clock.advance(1_000)
  ejector.began('a')
  t.equal(ejector.stateOf('a'), 'trying')
  await clock.advance(5_000)
  t.equal(ejector.stateOf('a'), 'half-open')
})

t.test('of those that answer badly some stay in; of those that do not answer, none', async (t) => {
  const ejector = new Ejector(new SimClock())
  const four = TEN.slice(0, 4)
  for (const { instance } of four) {
    for (let call = 0; call < 5; call += 1) ejector.note(instance, 'failed', DEFAULT_EJECTION)
  }
  t.equal(ejector.outOf(four, 0.5).size, 2)
  t.equal(ejector.outOf(four, 1).size, 4)
  for (const { instance } of four) ejector.note(instance, 'unreachable', DEFAULT_EJECTION)
  t.equal(ejector.outOf(four, 0.5).size, 4)
  ejector.note('other', 'unreachable', DEFAULT_EJECTION)
  t.equal(ejector.outOf([endpoint(9, 'other')], 0).size, 1, 'a link that failed speaks for its node')
})

t.test('retries are a fifth of the calls, besides a few a second', async (t) => {
  const clock = new SimClock()
  const budget = new RetryBudget(clock)
  const terms = { ratio: 0.2, min_per_second: 0 }
  t.equal(budget.withdraw(terms), false)
  for (let call = 0; call < 50; call += 1) budget.deposit(terms)
  const granted = Array.from({ length: 20 }, () => budget.withdraw(terms)).filter(Boolean).length
  t.equal(granted, 10)
  await clock.advance(60_000)
  t.equal(budget.withdraw(terms), false, 'what was not used is gone')
  t.equal(
    Array.from({ length: 200 }, () => budget.withdraw({ ratio: 0, min_per_second: 10 })).filter(Boolean).length,
    100,
  )
})

t.test('calls beyond the limits are refused with the time to wait', async (t) => {
  const clock = new SimClock()
  const limits = new CallLimits(clock, 'api')
  limits.enter({ concurrency: 2 })
  limits.enter({ concurrency: 2 })
  const busy = await throwsReason(t, 'OVERLOADED', () => limits.enter({ concurrency: 2 }))
  t.match(busy, { details: { limit: 'concurrency', retryAfterMs: 100 }, status: 'RESOURCE_EXHAUSTED', retryable: true })
  limits.left()
  limits.enter({ concurrency: 2 })

  const paced = new CallLimits(clock, 'api')
  for (let call = 0; call < 3; call += 1) paced.enter({ rate: 10, burst: 3 })
  const late = await throwsReason(t, 'OVERLOADED', () => paced.enter({ rate: 10, burst: 3 }))
  t.match(late, { details: { limit: 'rate', retryAfterMs: 100 } })
  await clock.advance(100)
  paced.enter({ rate: 10, burst: 3 })
  await throwsReason(t, 'OVERLOADED', () => paced.enter({ rate: 10, burst: 3 }))
  await clock.advance(60_000)
  for (let call = 0; call < 3; call += 1) paced.enter({ rate: 10, burst: 3 })
  await throwsReason(t, 'OVERLOADED', () => paced.enter({ rate: 10, burst: 3 }))
})

t.test('a method has its own terms, else those of its service, else those of the route', async (t) => {
  const route = routeSchema.parse({
    retries: 1,
    timeout: '5s',
    methods: {
      'shop.v1.Orders/Get': { idempotent: true, retries: 4, timeout: '1s' },
      'shop.v1.Orders/*': { retries: 0 },
    },
  })
  t.same(methodTerms(route, '/shop.v1.Orders/Get'), { retries: 4, timeoutMs: 1_000, idempotent: true })
  t.same(methodTerms(route, '/shop.v1.Orders/Put'), { retries: 0, timeoutMs: 5_000, idempotent: false })
  t.same(methodTerms(route, '/shop.v1.Stock/Get'), { retries: 1, timeoutMs: 5_000, idempotent: false })
  t.same(methodTerms(route, '/toString/x'), { retries: 1, timeoutMs: 5_000, idempotent: false })
})
