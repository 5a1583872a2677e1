import t from 'tap'
import { killTree, sweep, terminate } from '../../../src/process/terminate.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimHost } from '../../../src/sim/sim-host.ts'
import type { SimScript } from '../../../src/sim/sim-program.ts'

const forever = new AbortController().signal

async function started(script: SimScript, cells = true) {
  const [host, clock] = [new SimHost(), new SimClock()]
  host.cells = cells
  host.play(() => script)
  const directory = '/run/hsu/api/0/api-0-3fa2b1'
  const child = await host.spawn({ unit: 'api', directory, argv: ['api'], cwd: '/', env: {}, user: undefined })
  const finish = async <T>(work: Promise<T>): Promise<T> => {
    await clock.advance(60_000)
    return work
  }
  return { host, clock, child, directory, finish }
}

t.test('a process that only the cell knows is ended with its unit', async (t) => {
  const { host, clock, child, finish } = await started({ hidden: 2, daemons: 1, helpers: 1 })
  t.ok(await finish(terminate(host, child, { signal: 'SIGTERM', graceMs: 1_000 }, clock, forever)))
  t.same(host.ours, [])
})

t.test('where there are no cells, it is beyond reach', async (t) => {
  const { host, clock, child, finish } = await started({ hidden: 1, daemons: 1 }, false)
  t.ok(await finish(terminate(host, child, { signal: 'SIGTERM', graceMs: 1_000 }, clock, forever)))
  t.same(host.ours, ['hidden of /run/hsu/api/0/api-0-3fa2b1'])
})

t.test('what an ended instance left in its cell is swept up by the next node', async (t) => {
  const { host, clock, child, directory, finish } = await started({ hidden: 1 })
  host.exit(child.main.pid, { code: 0 })
  t.ok(await finish(sweep(host, { directory, leader: undefined, main: undefined }, clock, forever)))
  t.same(host.ours, [])
})

t.test('the leader may record how the program ended before the cell is killed as a whole', async (t) => {
  const { host, clock, child, finish } = await started({ helpers: 1 })
  t.ok(await finish(killTree(host, child, [], clock, forever)))
  t.same(host.signals, ['SIGKILL main', 'SIGKILL helper'])
  t.same(await child.exited, { signal: 'SIGKILL' })
})

t.test('an instance is not gone while somebody is in its cell whom the process table does not show', async (t) => {
  const { host, clock, child, finish } = await started({ hidden: 1 })
  const { table } = host
  const list = table.list.bind(table)
  Object.assign(table, { list: async () => (await list()).filter(({ name }) => name !== 'hidden') })
  host.exit(child.main.pid, { code: 0 })
  t.ok(await finish(killTree(host, child, [], clock, forever)))
  t.same(host.ours, [])
})
