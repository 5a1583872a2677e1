import t, { type Test } from 'tap'
import type { NodeEvent } from '../../../src/node/event.ts'
import { chainOf, explain, sentence } from '../../../src/node/why.ts'
import { type Watched, World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const run = ['/bin/serve']
const never = new AbortController().signal
const ANNA = { actor: 'anna (uid 1000) from the command line' }

/** What `hsu why` says of the first replica of a unit. */
async function why({ events, supervisor }: Pick<Watched, 'events' | 'supervisor'>, unit: string): Promise<string> {
  const all: NodeEvent[] = events.map((event) => ({ ...event, node: 'a' }))
  const eventIdOf = (name: string) => supervisor.status().find((status) => status.unit === name)?.eventId
  const chain = await chainOf(eventIdOf(unit) ?? '', {
    find: async (id) => all.find((event) => event.id === id),
    latestOf: eventIdOf,
  })
  const state = supervisor.status().find((status) => status.unit === unit)?.state ?? '?'
  return sentence(state, explain(unit, chain))
}

async function world(t: Test, ...specs: ReturnType<typeof unitSpec>[]): Promise<[World, Watched]> {
  const machine = new World(t)
  return [machine, await machine.supervise(specs)]
}

t.test('why a unit that crashes too often has failed', async (t) => {
  const [, watched] = await world(
    t,
    unitSpec('api', { run, restart: { backoff: '1s..1s', jitter: '0%', give_up: '5/5m', then: 'retry 10m' } }),
  )
  for (let crash = 1; crash < 5; crash += 1) {
    await watched.crash('api', 3)
    t.equal(await why(watched, 'api'), 'backoff because restart in 1s because exited with code 3')
    await watched.pass(1_000)
    t.equal(await why(watched, 'api'), 'up because it was restarted after 1s because exited with code 3')
  }
  await watched.crash('api', 3)
  t.equal(
    await why(watched, 'api'),
    'failed because crashed 5 times in 5m; is tried again in 10m because exited with code 3',
  )
})

t.test('why a unit was restarted: its probe, how often and with what answer', async (t) => {
  const machine = new World(t)
  const refuse = (): never => {
    throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  }
  let broken = false
  const live = { grpc: '', every: '1s', timeout: '1s', fail: 3 }
  const spec = unitSpec('api', {
    run,
    kind: 'integrated',
    ports: { grpc: 'auto' },
    probes: { live },
    restart: { backoff: '1m..1m' },
  })
  const watched = await machine.supervise([spec], { grpc: { check: async () => (broken ? refuse() : true) } })
  await watched.pass(2_000)
  broken = true
  await watched.pass(4_000)
  const [unhealthy] = watched.events.filter(({ type }) => type === 'unit.unhealthy')
  t.match(unhealthy, {
    reason: 'live probe failed 3 times',
    cause: 'connection refused',
    details: { probe: 'live', failures: '3', reasons: 'connection refused' },
    causedBy: '',
  })
  t.match(
    await why(watched, 'api'),
    /^backoff because restart in \d+s because live probe failed 3 times because connection refused$/,
  )
})

t.test('why a unit waits: it is told of the unit it waits for, as that one is now', async (t) => {
  const machine = new World(t)
  machine.host.play(({ unit }) => (unit === 'db' ? { fault: 'no such file' } : {}))
  const watched = await machine.supervise([
    unitSpec('db', { run: ['/x'], restart: { policy: 'no' } }),
    unitSpec('api', { run, depends_on: { db: { condition: 'healthy' } } }),
  ])
  await watched.pass(100)
  t.equal(
    await why(watched, 'api'),
    "down because waits for 'db' to be healthy because " +
      "db failed: cannot run /x of unit 'db': no such file; stays down until it is started",
  )

  machine.host.play(() => ({}))
  await watched.supervisor.startUnit('db', never, ANNA)
  await watched.pass(100)
  t.equal(
    await why(watched, 'api'),
    'up because db became ready because db was started because ' +
      'db: start asked for by anna (uid 1000) from the command line',
  )
})

t.test('why a unit is as somebody asked', async (t) => {
  const [, watched] = await world(t, unitSpec('api', { run }))
  await watched.supervisor.restartUnit('api', never, ANNA)
  await watched.pass(100)
  t.equal(await why(watched, 'api'), 'up because restart asked for by anna (uid 1000) from the command line')

  await Promise.all([watched.supervisor.stopUnit('api', never, ANNA), watched.pass(100)])
  t.equal(await why(watched, 'api'), 'down because stop asked for by anna (uid 1000) from the command line')

  await watched.supervisor.startUnit('api', never, ANNA)
  await Promise.all([watched.supervisor.killUnit('api', { actor: 'ben' }), watched.pass(100)])
  t.match(await why(watched, 'api'), /^backoff because restart in \d+ms because kill asked for by ben$/)
})

t.test('a start of what runs and a stop of what is down are told, and change nothing', async (t) => {
  const [machine, watched] = await world(t, unitSpec('api', { run }))
  await watched.supervisor.startUnit('api', never, ANNA)
  await watched.pass(100)
  t.equal(machine.host.spawned.length, 1)
  t.equal(await why(watched, 'api'), 'up')
  t.match(watched.events.at(-1), { type: 'unit.requested', details: { operation: 'start' }, actor: ANNA.actor })
})

t.test('the chain goes on over the end of a node', async (t) => {
  const [machine, first] = await world(t, unitSpec('api', { run }))
  await first.supervisor.restartUnit('api', never, ANNA)
  await first.pass(100)
  await first.supervisor.abandon()
  const second = await machine.supervise([unitSpec('api', { run })], { nextEventId: idsFrom(100) })
  await second.pass(100)
  const both = { supervisor: second.supervisor, events: [...first.events, ...second.events] }
  t.equal(
    await why(both, 'api'),
    'up because it was taken over from the node before because restart asked for by anna (uid 1000) from the command line',
  )
})

t.test('a chain ends where its events are no longer kept, and never goes in a circle', async (t) => {
  const event = (id: string, causedBy: string): NodeEvent => ({
    ...{ id, causedBy, wallMs: 0, node: 'a', unit: 'api', instance: '', type: 'unit.failed', reason: id },
    ...{ details: {}, cause: '', actor: '' },
  })
  const kept = [event('1-3', '1-2'), event('1-2', '1-1'), event('2-1', '2-2'), event('2-2', '2-1')]
  const source = { find: async (id: string) => kept.find((each) => each.id === id), latestOf: () => undefined }
  const ids = async (head: string) => (await chainOf(head, source)).map(({ id }) => id)
  t.same(await ids('1-3'), ['1-3', '1-2'])
  t.same(await ids('2-1'), ['2-1', '2-2'])
  t.same(await ids(''), [])
})

function idsFrom(first: number): () => string {
  let count = first
  return () => `0-${(count += 1)}`
}
