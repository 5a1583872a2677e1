import t from 'tap'
import { createOwnUsage } from '../../../src/process/own-usage.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

t.test('the node tells its own use: first since its start, then since it was asked last', async (t) => {
  const clock = new SimClock()
  const table = fakeTable([processInfo({ pid: 7, cpuMs: 500, reapedCpuMs: 9_000, rssBytes: 3 })])
  const usage = createOwnUsage({ clock, table, startedAtMs: clock.wallMs() - 10_000 }, 7)
  t.match(await usage(), { cpu: 0.05, cpuMs: 500, rssBytes: 3, processes: 1 }, 'what its children used is not its own')
  table.processes = [processInfo({ pid: 7, cpuMs: 2_500, rssBytes: 4 })]
  t.match(await usage(), { cpu: 0.05 }, 'asked again at once')
  await clock.advance(4_000)
  t.match(await usage(), { cpu: 0.5, cpuMs: 2_500, rssBytes: 4 })
  table.processes = []
  await clock.advance(4_000)
  t.equal(await usage(), undefined)
})
