import t, { type Test } from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import { watchIdle } from '../../../src/node/activation/idle-watch.ts'
import { type InstanceStatus, sleepTermsOf, type UnitSpec } from '../../../src/process/index.ts'
import { instanceStatus } from '../../support/instance-status.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { settle, SimClock } from '../../../src/sim/sim-clock.ts'
import { unitSpec } from '../../support/unit-spec.ts'

/** One unit that runs, and what is seen of it. */
async function watch(t: Test, spec: UnitSpec, others: readonly [UnitSpec, InstanceStatus][] = []) {
  const [clock, changes, ended] = [new SimClock(), createTopic<InstanceStatus>(), new AbortController()]
  const seen = { inFlight: 0, total: 0, connections: 0, looks: 0 }
  const sleeps: (readonly [atMs: number, keep: number, reason: string])[] = []
  const specs = new Map([spec, ...others.map(([other]) => other)].map((each) => [each.name, each]))
  let status = running(spec.name, spec.config.kind === 'integrated' ? 'integrated' : 'managed')
  const become = (more: Partial<InstanceStatus>): void => {
    status = { ...status, ...more }
    changes.publish(status)
  }
  const watching = watchIdle(
    {
      clock,
      log: memoryLog(),
      supervisor: {
        status: () => [status, ...others.map(([, other]) => other)],
        spec: (unit) => specs.get(unit),
        changes,
        sleepUnit(_unit, keep, reason) {
          sleeps.push([clock.nowMs(), keep, reason])
          become({ state: 'asleep', ready: false })
        },
      },
      termsOf: (unit) => sleepTermsOf((specs.get(unit) as UnitSpec).config),
      traffic: {
        callsOf: () => seen,
        async connectionsTo(ports) {
          seen.looks += 1
          return new Map([...ports].map((port) => [port, seen.connections]))
        },
      },
    },
    ended.signal,
  )
  t.teardown(async () => {
    ended.abort()
    await watching
    if (clock.sleeping > 0) throw new Error('something still sleeps')
  })
  await settle()
  return { clock, seen, sleeps, become }
}

const running = (unit: string, kind: InstanceStatus['kind']): InstanceStatus =>
  instanceStatus({ unit, instance: `${unit}-0-1`, kind })

const sleeper = (more: object = {}): UnitSpec =>
  unitSpec('echo', { run: ['x'], kind: 'integrated', activation: 'on-call', idle: { stop_after: '10s', ...more } })

t.test('A29: a unit is put to sleep 10 to 12 s after its last call ended', async (t) => {
  const { clock, seen, sleeps } = await watch(t, sleeper())
  seen.inFlight = 1
  seen.total = 1
  await clock.advance(60_000)
  t.same(sleeps, [], 'an open stream keeps it awake')
  seen.inFlight = 0
  await clock.advance(9_999)
  t.same(sleeps, [])
  await clock.advance(2_001)
  const [[atMs, keep, reason] = [0, 0, '']] = sleeps
  t.ok(atMs >= 70_000 && atMs <= 72_000, `after ${atMs - 60_000} ms`)
  t.same([keep, reason], [0, 'idle for 10s'])
})

t.test('A29: a call between two looks counts, and so does a connection past the node', async (t) => {
  const { clock, seen, sleeps } = await watch(t, sleeper())
  await clock.advance(9_500)
  seen.total = 1
  await clock.advance(9_500)
  t.same(sleeps, [])
  seen.connections = 1
  await clock.advance(30_000)
  t.same(sleeps, [])
  seen.connections = 0
  await clock.advance(12_000)
  t.equal(sleeps.length, 1)
})

t.test('A29: work keeps a unit awake that does not speak gRPC, and only such a one', async (t) => {
  for (const kind of ['managed', 'integrated'] as const) {
    const { config, ...spec } = sleeper()
    const { clock, sleeps, become } = await watch(t, { ...spec, config: { ...config, kind } })
    become({ cpu: 0.2 })
    await clock.advance(60_000)
    t.equal(sleeps.length, kind === 'managed' ? 0 : 1, kind)
    become({ cpu: 0.01 })
    await clock.advance(12_000)
    t.equal(sleeps.length, 1)
  }
})

t.test('A29: the least number of instances stays, and so does what others depend on', async (t) => {
  const kept = await watch(t, sleeper({ min: 1 }))
  await kept.clock.advance(60_000)
  t.same(kept.sleeps, [])
  t.equal(kept.seen.looks, 0, 'nothing is looked at when nothing may sleep')

  const needed = await watch(t, sleeper(), [
    [unitSpec('shop', { run: ['x'], depends_on: ['echo'] }), running('shop', 'managed')],
  ])
  await needed.clock.advance(60_000)
  t.same(needed.sleeps, [])
})

t.test('A29: what sleeps is not looked at, and is watched anew when it was woken', async (t) => {
  const { clock, seen, sleeps, become } = await watch(t, sleeper())
  await clock.advance(12_000)
  t.equal(sleeps.length, 1)
  const { looks } = seen
  await clock.advance(3_600_000)
  t.equal(seen.looks, looks)
  become({ state: 'starting', instance: 'echo-0-2' })
  await clock.advance(60_000)
  t.equal(sleeps.length, 1, 'a start is not idle time')
  become({ state: 'up', ready: true })
  await clock.advance(9_000)
  t.equal(sleeps.length, 1)
  await clock.advance(3_000)
  t.equal(sleeps.length, 2)
})
