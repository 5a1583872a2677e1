import t from 'tap'
import type { DiscoveryWay, MemberView } from '../../../src/mesh/index.ts'
import { type DiagnosedMesh, meshChecks } from '../../../src/node/diagnose-mesh.ts'

const way = (about: Partial<DiscoveryWay>): DiscoveryWay => ({
  way: 'mdns',
  where: 'eth0',
  fault: '',
  found: [],
  ...about,
})

function member(name: string, status: MemberView['status'], self = false): MemberView {
  return { nodeId: `id-${name}`, status, incarnation: 1, record: { name }, self } as MemberView
}

function checksOf(about: Partial<DiagnosedMesh>): string[] {
  const config = { name: 'plant', discovery: { mdns: true } }
  const all = { config, joined: true, ways: [], members: [member('a', 'alive', true)], ...about }
  return meshChecks(all).map(({ name, result, message }) => `${result} ${name}: ${message}`)
}

t.test('whether there is company, and who is missing', async (t) => {
  const self = member('a', 'alive', true)
  t.same(checksOf({ config: undefined }), ['ok mesh: none configured: this host works alone'])
  t.match(checksOf({ joined: false }), [/^failed mesh: not joined/])
  t.match(checksOf({}), [/^warning mesh: plant: no other node found; check that they have the same key/])
  t.same(checksOf({ members: [self, member('b', 'dead'), member('c', 'left')] }), [
    'warning mesh: plant: no other node is alive: b is dead, c is left',
  ])
  t.same(checksOf({ members: [self, member('b', 'alive')] }), ['ok mesh: plant: 1 other node(s) alive'])
  t.match(checksOf({ members: [member('a', 'removed', true), member('b', 'dead')] }), [
    /^failed mesh: plant: this node was removed from the mesh; hsu mesh restore a /,
  ])
})

t.test('each way to find others', async (t) => {
  const members = [member('a', 'alive', true), member('b', 'alive')]
  const one = (about: Partial<DiscoveryWay>): string => checksOf({ members, ways: [way(about)] })[1] ?? ''
  t.equal(one({ found: ['id-b'] }), 'ok discovery by multicast: eth0: found b')
  t.equal(one({ fault: 'broken', found: ['id-b'] }), 'warning discovery by multicast: eth0: broken')
  t.match(one({}), /^ok .*nobody else has answered/)
  t.match(one({ found: ['id-x'] }), /^warning .*heard of id-x, which is not in this mesh: another mesh key/)
  t.match(one({ found: ['id-x', 'id-b'] }), /^ok .*found b; heard of id-x, which is not/)
  t.equal(one({ way: 'seed', where: 'h:1' }), 'ok seed h:1: reached')
  t.equal(one({ way: 'remembered', where: '1', found: ['id-b'] }), 'ok remembered nodes: found b')
  t.match(one({ way: 'remembered', where: '0' }), /^ok remembered nodes: none yet/)
})

t.test('multicast that is switched off is told', async (t) => {
  const config = { name: 'plant', discovery: { mdns: false } }
  t.same(checksOf({ config })[1], 'ok discovery by multicast: switched off by mesh.discovery.mdns')
})
