import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import type { MemberView, NodeRecord, Registration } from '../../../src/mesh/index.ts'
import { slotsElsewhere } from '../../../src/node/elsewhere.ts'

const registration = (unit: string, state: string, ready = false): Registration => ({
  unit,
  instance: `${unit}-0-1`,
  replica: 0,
  kind: 'managed',
  state,
  ready,
  services: [],
  address: '',
  ports: {},
})

const member = (nodeId: string, status: MemberView['status'], self = false): MemberView => ({
  nodeId,
  status,
  incarnation: 1,
  self,
  record: { name: `name of ${nodeId}` } as NodeRecord,
})

t.test('units of other nodes count while their node is alive or only suspected', async (t) => {
  const changes = createTopic<undefined>()
  let members = [member('a', 'alive', true), member('b', 'alive'), member('c', 'suspect'), member('d', 'dead')]
  const units: Record<string, readonly Registration[]> = {
    a: [registration('db', 'up', true)],
    b: [registration('db', 'up', true), registration('web', 'up')],
    c: [registration('db', 'backoff')],
    d: [registration('db', 'up', true)],
  }
  const world = { members: () => members, registrationsOf: (nodeId: string) => units[nodeId] ?? [], changes }
  const elsewhere = slotsElsewhere(world)
  t.same(elsewhere.slotsOf('db'), [
    { instance: 'b/db-0-1', state: 'up', ready: true, isRunning: true, isUnasked: false, text: 'up on name of b' },
    {
      instance: 'c/db-0-1',
      state: 'backoff',
      ready: false,
      isRunning: false,
      isUnasked: false,
      text: 'backoff on name of c',
    },
  ])
  t.same(elsewhere.slotsOf('nobody'), [])

  let heard: readonly string[] = []
  elsewhere.changes.subscribe(() => {
    heard = elsewhere.slotsOf('db').map(({ instance }) => instance)
  })
  members = [member('a', 'alive', true), member('b', 'left'), member('c', 'alive')]
  changes.publish(undefined)
  t.same(heard, ['c/db-0-1'], 'who is told of a change sees it')
})
