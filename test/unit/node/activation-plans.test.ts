import t from 'tap'
import type { MemberView, Registration } from '../../../src/mesh/index.ts'
import { byMerit, candidatesFor, deciders } from '../../../src/node/activation/choose.ts'
import { type Activity, isDue, lookEveryMs, observe } from '../../../src/node/activation/idle.ts'
import { refusalOf, wakeStateOf } from '../../../src/node/activation/wake-state.ts'
import type { InstanceStatus } from '../../../src/process/index.ts'
import { instanceStatus } from '../../support/instance-status.ts'

const slot = (state: InstanceStatus['state'], more: Partial<InstanceStatus> = {}): InstanceStatus =>
  instanceStatus({ state, ready: false, pid: undefined, startedAtMs: undefined, ports: {}, ...more })

const SLEEPS = { sleeps: true, holdMs: 10_000, wallMs: 1_000 }

t.test('how a unit stands towards calls', async (t) => {
  const down = { want: 'down' } as const
  const cases: readonly (readonly [string, readonly InstanceStatus[]])[] = [
    ['awake', [slot('starting'), slot('up', { ready: true })]],
    ['waking', [slot('up')]],
    ['waking', [slot('asleep', down), slot('starting')]],
    ['waking', [slot('down', { reason: "waits for 'db'" })]],
    ['waking', [slot('stopping')]],
    ['asleep', [slot('asleep', down), slot('failed')]],
    ['asleep', [slot('completed', down)]],
    ['draining', [slot('stopping', down)]],
    ['off', [slot('down', down)]],
    ['off', [slot('backoff', { retryAtMs: 1_500 }), slot('failed')]],
    ['waking', [slot('backoff', { recovers: true, retryAtMs: 10_999 })]],
    ['off', [slot('backoff', { recovers: true, retryAtMs: 11_000 })]],
    ['off', []],
  ]
  for (const [state, replicas] of cases) {
    t.equal(wakeStateOf(replicas, SLEEPS), state, replicas.map((each) => each.state).join(' '))
  }
  t.equal(
    wakeStateOf([slot('completed', down)], { ...SLEEPS, sleeps: false }),
    'off',
    'a job that is done is not asleep',
  )
})

t.test('a refusal says how the unit is and when it is tried again', async (t) => {
  const { reason, details, message } = refusalOf(
    'echo',
    [slot('backoff', { reason: 'exited with code 3', retryAtMs: 4_000 })],
    1_000,
  )
  t.equal(reason, 'WAKE_FAILED')
  t.same(details, { unit: 'echo', state: 'backoff', reason: 'exited with code 3', retryInMs: 3_000 })
  t.equal(message, "unit 'echo' does not take calls: it is backoff: exited with code 3; next try in 3s")
  t.match(refusalOf('echo', [slot('down', { want: 'down', reason: 'stopped' })], 0).message, /until 'hsu start echo'/)
  t.match(refusalOf('echo', [], 0).message, /no replicas/)
})

const busy = (more: Partial<Activity> = {}): Activity => ({
  instance: 'echo-0-1',
  ready: true,
  inFlight: 0,
  calls: 7,
  connections: 0,
  cpu: 0,
  ...more,
})
const TERMS = { cpu: 0.05, stopAfterMs: 10_000 }

t.test('a unit is due when it has had nothing to do for its idle time', async (t) => {
  let idleness = observe(undefined, [busy()], TERMS, 1_000)
  idleness = observe(idleness, [busy()], TERMS, 2_000)
  idleness = observe(idleness, [busy()], TERMS, 10_999)
  t.notOk(isDue(idleness, TERMS, 10_999))
  t.ok(isDue(idleness, TERMS, 11_000))
  t.notOk(isDue(idleness, { stopAfterMs: undefined }, 1e9), 'without an idle time it is never due')
})

t.test('anything that goes on keeps it awake', async (t) => {
  const before = observe(undefined, [busy()], TERMS, 0)
  const signs: readonly Partial<Activity>[] = [
    { inFlight: 1 },
    { calls: 8 },
    { connections: 1 },
    { cpu: 0.06 },
    { ready: false },
    { instance: 'echo-0-2' },
  ]
  for (const sign of signs) {
    t.equal(observe(before, [busy(sign)], TERMS, 5_000).sinceMs, 5_000, JSON.stringify(sign))
    t.equal(observe(before, [busy(), busy({ ...sign, instance: 'echo-1-1' })], TERMS, 5_000).sinceMs, 5_000)
  }
  t.equal(observe(before, [busy({ cpu: 0.05 })], TERMS, 5_000).sinceMs, 0)
})

t.test('a look is taken each tenth of the shortest idle time, within bounds', async (t) => {
  t.equal(lookEveryMs([{ stopAfterMs: 600_000 }, { stopAfterMs: 10_000 }]), 1_000)
  t.equal(lookEveryMs([{ stopAfterMs: 2_000 }, { stopAfterMs: undefined }]), 200)
  t.equal(lookEveryMs([{ stopAfterMs: 1 }]), 50)
})

const NODES = ['a', 'b', 'c', 'd', 'e']
const member = (nodeId: string, status: MemberView['status'] = 'alive'): MemberView => {
  return { nodeId, status, incarnation: 1, record: undefined, self: false }
}
const registration = (state: string, more: Partial<Registration> = {}): Registration => {
  const { unit, instance, replica, kind, ready, ports } = slot('up')
  return {
    unit,
    instance,
    replica,
    kind,
    ready,
    ports,
    state,
    services: [],
    address: '',
    onCall: { holdMs: 1, starts: true },
    ...more,
  }
}

t.test('all nodes agree on who decides, and it is another one for other units', async (t) => {
  const order = deciders('echo', NODES)
  t.same(deciders('echo', NODES.toReversed()), order)
  t.same(new Set(order), new Set(NODES))
  const without = order.filter((nodeId) => nodeId !== order[0])
  t.same(deciders('echo', without), without, 'when the first is gone, the second is first')
  const firsts = Array.from({ length: 50 }, (_, unit) => deciders(`unit-${unit}`, NODES)[0])
  t.equal(new Set(firsts).size, NODES.length)
})

t.test('the best node is where the unit is nearest to calls, then where least runs', async (t) => {
  const world: Readonly<Record<string, readonly Registration[]>> = {
    a: [registration('asleep'), registration('up', { unit: 'other', ready: true })],
    b: [registration('asleep')],
    c: [registration('backoff')],
    d: [registration('starting'), registration('up', { unit: 'other' }), registration('up', { unit: 'more' })],
    e: [registration('stopping', { draining: true })],
    f: [registration('asleep', { unit: 'other' })],
    g: [registration('up', { onCall: undefined as never, ready: true })],
  }
  const members = Object.keys(world).map((nodeId) => member(nodeId))
  const found = candidatesFor('echo', members, (nodeId) => world[nodeId] ?? [])
  t.same(
    byMerit('echo', found).map(({ nodeId, readiness }) => [nodeId, readiness]),
    [
      ['d', 'waking'],
      ['b', 'asleep'],
      ['a', 'asleep'],
      ['e', 'draining'],
      ['c', 'off'],
    ],
  )
})

t.test('a node that is suspected is asked only when no other has the unit', async (t) => {
  const registrationsOf = () => [registration('asleep')]
  const names = (members: readonly MemberView[]) =>
    candidatesFor('echo', members, registrationsOf).map(({ nodeId }) => nodeId)
  t.same(names([member('a', 'suspect'), member('b'), member('c', 'dead')]), ['b'])
  t.same(names([member('a', 'suspect'), member('c', 'dead')]), ['a'])
})
