import t from 'tap'
import { throwsReason } from '../../support/throws-reason.ts'
import { World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const run = ['/bin/program']
const asker = { actor: 'anna from the command line' }
const attached = (name: string, find: object, signal = false) => ({
  ...unitSpec(name, { kind: 'unmanaged', find, allow: { signal } }),
  origin: 'attached by anna',
})

t.test('checks make a unit healthy, degraded, unhealthy, and each change is one event', async (t) => {
  const world = new World(t)
  let code = 0
  Object.assign(world.host, { run: async () => ({ exit: { code }, stdout: code === 0 ? '' : 'disk full' }) })
  const checks = { disk: { exec: ['df'], every: '1s', fail: 3 } }
  const seen = await world.supervise([
    unitSpec('api', { run }),
    unitSpec('eye', { kind: 'unmanaged', find: { name: 'main' }, checks }),
  ])
  await seen.pass(0)
  t.match(seen.status('eye'), { ready: true, health: { state: 'healthy' }, reason: '' })
  code = 1
  await seen.pass(1_000, 100)
  t.match(seen.status('eye'), { ready: true, health: { state: 'degraded', checks: [{ check: 'disk', failures: 1 }] } })
  t.match(seen.status('eye').reason, /check disk failed 1 time, unhealthy at 3: .*disk full/)
  await seen.pass(5_000, 100)
  t.match(seen.status('eye'), { ready: false, health: { state: 'unhealthy' } })
  code = 0
  await seen.pass(1_000, 100)
  t.match(seen.status('eye'), { ready: true, health: { state: 'healthy' }, reason: '' })
  t.same(seen.typesOf('eye'), ['found', 'ready', 'degraded', 'unhealthy', 'unready', 'healthy', 'ready'])
  const unhealthy = seen.events.find(({ type }) => type === 'unit.unhealthy')
  t.match(unhealthy, { details: { check: 'disk', failures: '3', failAfter: '3' }, reason: /failed 3 times/ })
  t.equal(seen.events.find(({ type }) => type === 'unit.unready')?.causedBy, unhealthy?.id)
})

t.test('what is never asked, or wrongly, is not well', async (t) => {
  const world = new World(t)
  const checks = { off: { exec: ['x'], enabled: false }, rpc: { grpc: '' } }
  const seen = await world.supervise([
    unitSpec('api', { run }),
    unitSpec('eye', { kind: 'unmanaged', find: { name: 'main' }, checks }),
  ])
  await seen.pass(0)
  t.match(seen.status('eye'), { ready: false, health: { state: 'unhealthy', checks: [{ check: 'rpc' }] } })
  t.match(seen.status('eye').reason, /its probes cannot be used/)
})

t.test('a threshold is told once a crossing', async (t) => {
  const world = new World(t)
  const limits = { memory: '10B' } as const
  const unit = { kind: 'unmanaged', find: { name: 'main' } } as const
  const seen = await world.supervise([
    unitSpec('api', { run }),
    unitSpec('eye', { ...unit, limits }),
    unitSpec('quiet', { ...unit, limits: { ...limits, on_exceed: { memory: 'log' } } }),
  ])
  await seen.pass(20_000, 500)
  t.same(seen.typesOf('eye'), ['found', 'ready', 'limit_exceeded'])
  t.same(seen.typesOf('quiet'), ['found', 'ready', 'limit_exceeded'])
  const told = seen.events.filter(({ type }) => type === 'unit.limit_exceeded')
  t.match(told, [
    { unit: 'eye', details: { resource: 'memory', action: 'alert' } },
    { unit: 'quiet', details: { resource: 'memory', action: 'log' } },
  ])
  t.match(seen.status('eye').limits, [{ resource: 'memory', value: 10, mode: 'watched', by: /usage/ }])
})

t.test('an attached unit is watched beside the configuration, which wins by name', async (t) => {
  const world = new World(t)
  const api = unitSpec('api', { run })
  const seen = await world.supervise([api])
  const { supervisor } = seen
  t.equal(await supervisor.attachUnit(attached('eye', { name: 'main' })), true)
  t.match(seen.status('eye'), { state: 'up', ready: true, origin: 'attached by anna' })

  await supervisor.apply([api])
  t.match(seen.status('eye'), { state: 'up' }, 'another configuration leaves it alone')

  await supervisor.apply([api, unitSpec('eye', { kind: 'unmanaged', find: { name: 'other' } })])
  await seen.pass(0)
  t.match(seen.status('eye'), { state: 'absent', origin: 'configuration' })
  t.match(seen.log.entries.at(-1), { level: 'warn', message: /wins; hsu detach/ })
  t.equal(await supervisor.attachUnit(attached('api', { name: 'main' })), false, 'nor is one of its names taken over')
  t.match(seen.status('api'), { kind: 'managed' })

  await supervisor.apply([api])
  await seen.pass(0)
  t.match(seen.status('eye'), { state: 'up', origin: 'attached by anna' }, 'it comes back when the name is free')
  t.equal(await supervisor.detachUnit('eye'), true)
  t.equal(supervisor.spec('eye'), undefined)
  t.equal(await supervisor.detachUnit('eye'), false)
  t.equal(world.host.pidsOf('api').length, 1)
  t.same(world.host.signals, [], 'nothing was signalled in all this')
})

t.test(
  'a bare pid stays with its process over a restart of the node; a stranger of that pid is never signalled',
  async (t) => {
    const world = new World(t)
    const api = unitSpec('api', { run, restart: { policy: 'no' } })
    const first = await world.supervise([api])
    const [pid = 0] = world.host.pidsOf('api')
    const eye = unitSpec('eye', { kind: 'unmanaged', find: { pid }, allow: { signal: true } })
    await first.supervisor.apply([api, eye])
    await first.pass(10)
    t.match(first.status('eye'), { state: 'up', pid })
    await first.supervisor.abandon()
    world.host.exit(pid, { code: 0 })
    world.host.recycle(pid)

    const second = await world.supervise([api, eye])
    await second.pass(4_000, 100)
    t.match(second.status('eye'), { state: 'absent', pid: undefined, reason: /belongs to another process now/ })
    await throwsReason(t, 'NOT_STARTED', () => second.supervisor.signalUnit('eye', 'TERM', asker))
    await throwsReason(t, 'NOT_STARTED', () => second.supervisor.killUnit('eye', asker))
    t.same(world.host.signals, [])
  },
)

t.test('a pid is recycled between two looks: the signal goes nowhere', async (t) => {
  const world = new World(t)
  const seen = await world.supervise([
    unitSpec('api', { run }),
    unitSpec('eye', { kind: 'unmanaged', find: { name: 'main' }, allow: { signal: true } }),
  ])
  await seen.pass(0)
  const pid = seen.status('eye').pid ?? 0
  world.host.recycle(pid)
  await throwsReason(t, 'NOT_STARTED', () => seen.supervisor.signalUnit('eye', 'TERM', asker))
  t.same(world.host.signals, [])
})

t.test('the log of events tells who asked, what was refused, and what came of it', async (t) => {
  const world = new World(t)
  const unit = { kind: 'unmanaged', find: { name: 'main' } } as const
  const seen = await world.supervise([
    unitSpec('api', { run, restart: { policy: 'no' } }),
    unitSpec('shy', unit),
    unitSpec('open', { ...unit, allow: { signal: true } }),
  ])
  await seen.pass(0)
  await throwsReason(t, 'NOT_PERMITTED', () => seen.supervisor.signalUnit('shy', 'TERM', asker))
  await seen.supervisor.signalUnit('open', 'TERM', asker)
  await seen.pass(3_000, 100)
  const told = (unit: string) => seen.events.filter((event) => event.unit === unit).slice(2)
  t.match(told('shy'), [
    { type: 'unit.requested', actor: asker.actor },
    { type: 'unit.refused', causedBy: told('shy')[0]?.id },
    { type: 'unit.lost', causedBy: '' },
  ])
  t.match(told('open'), [
    { type: 'unit.requested', actor: asker.actor, reason: /signal TERM/ },
    { type: 'unit.lost', causedBy: told('open')[0]?.id },
  ])
})
