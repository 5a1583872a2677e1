import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import type { Mesh } from '../../../src/mesh/index.ts'
import { createMeshPart } from '../../../src/node/mesh-part.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

function fakeMesh(calls: string[], fails: boolean): Mesh {
  return {
    name: 'mesh',
    nodeId: 'n',
    start: async () => {
      calls.push('start')
      if (fails) throw new Error('EADDRNOTAVAIL: no such address')
    },
    stop: async () => void calls.push('stop'),
    members: () => [],
    registrations: () => new Map(),
    publish: () => undefined,
    flushed: async () => undefined,
    changes: createTopic(),
    events: createTopic(),
  } as unknown as Mesh
}

t.test('a mesh that cannot be joined yet is tried again until it can, and said so', async (t) => {
  const [clock, log, calls]: [SimClock, ReturnType<typeof memoryLog>, string[]] = [new SimClock(), memoryLog(), []]
  let tries = 0
  const open = async (): Promise<Mesh> => fakeMesh(calls, (tries += 1) < 3)
  const part = createMeshPart({ clock, random: seeded(1), log, open })
  const opened: Mesh[] = []
  part.opened.subscribe((mesh) => opened.push(mesh))
  await part.start()
  await clock.advance(0)
  t.equal(part.current(), undefined, 'one that failed is nobody to ask')
  await clock.advance(10_000)
  await part.joined()
  t.same(calls, ['start', 'stop', 'start', 'stop', 'start'])
  t.equal(part.current(), opened[2])
  t.equal(log.entries.filter(({ level }) => level === 'error').length, 2)
  await part.stop()
  t.equal(calls.at(-1), 'stop')
})

t.test('a node that stops while it cannot join does not wait for the next try', async (t) => {
  const clock = new SimClock()
  const part = createMeshPart({ clock, random: seeded(1), log: memoryLog(), open: async () => fakeMesh([], true) })
  await part.start()
  await clock.advance(0)
  await part.stop()
  t.equal(clock.sleeping, 0)
})
