import t from 'tap'
import { faultsOf, load } from '../../support/config.ts'

const withUnit = (...lines: readonly string[]): string =>
  ['version: 1', 'units:', '  api:', '    run: [./api]', ...lines.map((line) => `    ${line}`), ''].join('\n')

t.test('a unit is kept unless its partition says otherwise', async (t) => {
  const policyOf = async (...lines: readonly string[]): Promise<unknown> =>
    (await load(withUnit(...lines))).config.units['api']?.partition
  t.equal(await policyOf(), 'keep')
  t.equal(await policyOf('partition: keep'), 'keep')
  t.same(await policyOf('partition: { stop_after: 20s, replace_after: 1m, order: [edge-a] }'), {
    stop_after: 20_000,
    replace_after: 60_000,
    order: ['edge-a'],
  })
})

// biome-ignore format: a table reads by row
const FAULTS: readonly (readonly [lines: readonly string[], fault: RegExp])[] = [
  [['partition: {}'], /partition.*needs stop_after or replace_after/],
  [['partition: { stop_after: 30s, replace_after: 30s }'], /replace_after.*must be longer than stop_after/],
  [['partition: { stop_after: 30s, order: [a] }'], /order.*is only for replace_after/],
  [['partition: { stop: 30s }'], /partition/],
  [['partition: { stop_after: soon }'], /partition/],
  [['job: {}', 'partition: { stop_after: 30s }'], /partition.*is for units that are kept running/],
]

for (const [lines, fault] of FAULTS) {
  t.test(`refuses ${lines.join(', ')}`, async (t) => t.match((await faultsOf(withUnit(...lines))).join('\n'), fault))
}
