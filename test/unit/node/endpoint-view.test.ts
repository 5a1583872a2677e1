import t from 'tap'
import type { MemberStatus, MemberView, NodeRecord, Registration } from '../../../src/mesh/index.ts'
import { endpointView } from '../../../src/node/endpoint-view.ts'
import { toRegistration } from '../../../src/node/registrations.ts'
import { instanceStatus } from '../../support/instance-status.ts'

const member = (nodeId: string, status: MemberStatus): MemberView => ({
  nodeId,
  status,
  incarnation: 1,
  record: undefined,
  self: false,
})
const registration = (unit: string, services: string[], address = '127.0.0.1:1'): Registration => ({
  unit,
  instance: `${unit}-0`,
  replica: 0,
  kind: 'integrated',
  state: 'up',
  ready: true,
  services,
  address,
  ports: {},
})

t.test('only owners that are alive or suspect offer anything', async (t) => {
  const statuses: MemberStatus[] = ['alive', 'suspect', 'dead', 'left']
  const view = endpointView(
    statuses.map((status) => member(status, status)),
    new Map(statuses.map((status) => [status, [registration('echo', ['echo.v1.EchoService'])]])),
  )
  t.same(
    view.upstream('echo.v1.EchoService')?.map(({ nodeId }) => nodeId),
    ['alive', 'suspect'],
  )
  t.equal(view.upstream('other'), undefined, 'nobody knows it, which is not the same as nobody ready')
})

t.test('a unit without an address is no endpoint, one without services is found by its name', async (t) => {
  const section = [registration('worker', [], ''), registration('web', [])]
  const view = endpointView([member('a', 'alive')], new Map([['a', section]]))
  t.same(view.byUnit('worker'), [])
  t.match(view.byUnit('web'), [{ unit: 'web', address: '127.0.0.1:1' }])
  t.same(view.services(), [])
})

t.test('an endpoint is of the zone of its owner, and of the version and canary that are registered', async (t) => {
  const canary = { share: 500, headers: {} }
  const section = [{ ...registration('web', []), version: '2.1', canary }]
  const record = { name: 'a', labels: { zone: 'hall-1' } } as unknown as NodeRecord
  const view = endpointView([{ ...member('a', 'alive'), record }], new Map([['a', section]]))
  t.match(view.byUnit('web'), [{ zone: 'hall-1', version: '2.1', canary }])
})

t.test(
  'a registration is not ready while its instance is being withdrawn, and unmanaged units have no address',
  async (t) => {
    const status = instanceStatus({ ports: { http: 8080, grpc: 50_051 } })
    const offer = { services: ['echo.v1.EchoService'], draining: false }
    t.match(toRegistration(status, offer), { ready: true, address: '127.0.0.1:50051' })
    t.match(toRegistration(status, { ...offer, draining: true }), { ready: false, address: '127.0.0.1:50051' })
    const terms = { version: '2.1', canary: { share: 500, headers: {} } }
    t.match(toRegistration(status, { ...offer, ...terms }), terms)
    t.equal(toRegistration({ ...status, kind: 'unmanaged' }, offer).address, '')
    t.equal(toRegistration({ ...status, ports: {} }, offer).address, '')
  },
)
