import t from 'tap'
import { configChange } from '../../../src/node/config-change.ts'
import { createLiveSetup, withVariablesOf } from '../../../src/node/live-setup.ts'
import type { NodeSetup } from '../../../src/node/node-setup.ts'
import { unitSpec } from '../../support/unit-spec.ts'

type Units = Readonly<Record<string, Parameters<typeof unitSpec>[1]>>

function setupOf(units: Units, file: object = { node: { name: 'node-a' } }, services: string[] = []): NodeSetup {
  return {
    name: 'node-a',
    paths: { dataDir: '/data' },
    units: Object.entries(units).map(([name, raw]) => unitSpec(name, raw)),
    servicesOf: () => services,
    routeOf: () => undefined,
    config: { configJson: JSON.stringify({ ...file, units }), origins: {} },
  } as unknown as NodeSetup
}

t.test('equal configurations have no difference', async (t) => {
  const units: Units = { a: { run: ['a'], env: { X: '1' } }, b: { run: ['b'] } }
  t.same(configChange(setupOf(units), setupOf(units)), { units: [], needsUpgrade: [] })
})

t.test(
  'a unit is added, removed, restarted for a new launch, updated for all else, and the others are left out',
  async (t) => {
    const before = setupOf({ same: { run: ['s'] }, gone: { run: ['g'] }, moved: { run: ['m'] }, tuned: { run: ['t'] } })
    const after = setupOf({
      same: { run: ['s'] },
      moved: { run: ['m', '-v'], env: { X: '1' } },
      tuned: { run: ['t'], replicas: 2, restart: { policy: 'always' } },
      fresh: { run: ['f'] },
    })
    t.same(configChange(before, after).units, [
      { unit: 'gone', change: 'removed', keys: [] },
      { unit: 'moved', change: 'restarted', keys: ['run', 'env'] },
      { unit: 'tuned', change: 'updated', keys: ['replicas', 'restart'] },
      { unit: 'fresh', change: 'added', keys: [] },
    ])
  },
)

t.test('what differs outside units is named by its dotted key', async (t) => {
  const before = setupOf({}, { node: { name: 'a', listen: { ingress: '127.0.0.1:1', link: 'x' } } })
  const after = setupOf({}, { node: { name: 'b', listen: { ingress: '127.0.0.1:2', link: 'x' } }, mesh: { name: 'm' } })
  t.same(configChange(before, after), { units: [], needsUpgrade: ['node.name', 'node.listen.ingress', 'mesh'] })
})

t.test('a name of the node that is not in force yet does not restart its units', async (t) => {
  const before = setupOf({ a: { run: ['a'] } })
  const renamed = setupOf({ a: { run: ['a'] } }, { node: { name: 'node-b' } })
  const next = {
    ...renamed,
    units: renamed.units.map((spec) => ({ ...spec, variables: { ...spec.variables, nodeName: 'node-b' } })),
  }
  t.equal(configChange(before, next).units[0]?.change, 'restarted', 'as an upgrade would')
  t.same(configChange(before, { ...next, units: withVariablesOf(before, next) }).units, [])
})

t.test('a live setup answers from the configuration in force, and can go back', async (t) => {
  const live = createLiveSetup(setupOf({ a: { run: ['a'] } }, {}, ['one.v1.One']))
  const servicesOf = (unit: string): readonly string[] | undefined => live.setup.servicesOf(unit)
  const back = live.exchange(setupOf({ a: { run: ['a'] }, b: { run: ['b'] } }, {}, ['two.v1.Two']))
  t.same(servicesOf('a'), ['two.v1.Two'])
  t.same(
    live.setup.units.map(({ name }) => name),
    ['a', 'b'],
  )
  back()
  t.same(servicesOf('a'), ['one.v1.One'])
  t.equal(live.setup.units.length, 1)
})
