import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import { createOwnNames, MAX_SETTLING_MS } from '../../../src/node/own-names.ts'
import { createServiceMemory } from '../../../src/node/service-memory.ts'
import { settle, SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { memoryLog } from '../../support/memory-log.ts'

async function setUp() {
  const [clock, changes] = [new SimClock(), createTopic<undefined>()]
  const state = { untold: true, settled: 0 }
  let join: () => void = () => undefined
  const joined = new Promise<void>((resolve) => (join = resolve))
  const names = createOwnNames({
    ...{ clock, changes },
    isUntold: () => state.untold,
    joined: () => joined,
    settled: () => (state.settled += 1),
  })
  await names.start()
  const tell = (): void => {
    state.untold = false
    changes.publish(undefined)
  }
  return { clock, names, state, join, tell, changes }
}

t.test('names are known once every unit has told its services, and the mesh is joined', async (t) => {
  const { names, state, join, tell, changes, clock } = await setUp()
  const settling = names.settling()
  t.ok(settling)
  tell()
  await settle()
  t.ok(names.settling(), 'the units are not there yet')
  state.untold = true
  names.begin()
  changes.publish(undefined)
  await settle()
  t.ok(names.settling())
  tell()
  await settle()
  t.ok(names.settling(), 'others may offer what is not known here')
  join()
  await settling
  t.equal(names.settling(), undefined)
  t.equal(state.settled, 1)
  state.untold = true
  changes.publish(undefined)
  await settle()
  t.equal(names.settling(), undefined, 'it is about the start of the node only')
  await names.stop()
  t.equal(clock.sleeping, 0)
})

t.test('nothing keeps callers of unknown names waiting for long', async (t) => {
  const { clock, names, state } = await setUp()
  names.begin()
  await clock.advance(MAX_SETTLING_MS - 1)
  t.ok(names.settling())
  await clock.advance(1)
  t.equal(names.settling(), undefined)
  t.equal(state.settled, 1)
  await names.stop()
  t.equal(clock.sleeping, 0)
})

t.test('services are remembered over the end of the node', async (t) => {
  const [store, log] = [simStore(), memoryLog()]
  const first = createServiceMemory(store, log)
  await first.start()
  t.equal(first.recall('echo'), undefined)
  first.keep('echo', ['echo.v1.EchoService'])
  first.keep('echo', ['echo.v2.EchoService'])
  first.keep('mute', [])
  await first.stop()
  const next = createServiceMemory(store, log)
  await next.start()
  t.same(next.recall('echo'), ['echo.v2.EchoService'])
  t.same(next.recall('mute'), [], 'that it offers nothing is known too')

  await store.put('services.json', Buffer.from('{'))
  const damaged = createServiceMemory(store, log)
  await damaged.start()
  t.equal(damaged.recall('echo'), undefined)
  t.equal(log.entries.length, 1)
})
