import t from 'tap'
import { createMeter, measure, type Usage } from '../../../src/process/meter.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../support/sim-clock.ts'

const reading = (atMs: number, ...tree: Parameters<typeof processInfo>[0][]) => ({ atMs, tree: tree.map(processInfo) })

t.test('measure', async (t) => {
  t.test('the first reading knows memory but no rate', async (t) => {
    t.same(measure(undefined, reading(0, { pid: 1, cpuMs: 900, rssBytes: 10 }, { pid: 2, rssBytes: 5 })), {
      cpu: 0,
      rssBytes: 15,
      processes: 2,
    })
  })

  t.test('the rate is the time used by all over the time that passed', async (t) => {
    const before = reading(1_000, { pid: 1, cpuMs: 100 }, { pid: 2, cpuMs: 50 })
    const after = reading(3_000, { pid: 1, cpuMs: 1_100 }, { pid: 2, cpuMs: 2_050 })
    t.equal(measure(before, after).cpu, 1.5)
  })

  t.test('a child that came and went between two readings is counted', async (t) => {
    const before = reading(0, { pid: 1, cpuMs: 0, reapedCpuMs: 0 })
    t.equal(measure(before, reading(1_000, { pid: 1, cpuMs: 0, reapedCpuMs: 800 })).cpu, 0.8)
  })

  t.test('a child that ended is not counted twice', async (t) => {
    const before = reading(0, { pid: 1, reapedCpuMs: 0 }, { pid: 2, cpuMs: 500 })
    t.equal(measure(before, reading(1_000, { pid: 1, reapedCpuMs: 600 })).cpu, 0.1)
  })

  t.test('a child nobody waited for does not hide the others', async (t) => {
    const before = reading(0, { pid: 1, cpuMs: 0 }, { pid: 2, cpuMs: 9_000 })
    t.equal(measure(before, reading(1_000, { pid: 1, cpuMs: 250 })).cpu, 0.25)
  })

  t.test('a pid used again is another process', async (t) => {
    const before = reading(0, { pid: 1, startTime: 'a', cpuMs: 5_000 })
    t.equal(measure(before, reading(1_000, { pid: 1, startTime: 'b', cpuMs: 500 })).cpu, 0.5)
  })
})

t.test('the meter', async (t) => {
  t.test('reads once a tick for all units, and not at all for none', async (t) => {
    const clock = new SimClock()
    const log = memoryLog()
    const table = fakeTable([processInfo({ pid: 1, rssBytes: 1 }), processInfo({ pid: 2, rssBytes: 2 })])
    let reads = 0
    const list = async () => {
      reads += 1
      return table.processes
    }
    const meter = createMeter({ clock, log, table: { ...table, list } }, { intervalMs: 1_000 })
    await meter.start()
    await clock.advance(5_500)
    t.equal(reads, 0)

    const seen: Record<number, Usage[]> = { 1: [], 2: [] }
    const untrack = [1, 2].map((pid) =>
      meter.track({ pid, startTime: `start-${pid}`, bootId: 'boot-1' }, (usage) => seen[pid]?.push(usage)),
    )
    await clock.advance(1_000)
    table.processes = [processInfo({ pid: 1, rssBytes: 1, cpuMs: 500 }), processInfo({ pid: 2, startTime: 'other' })]
    await clock.advance(1_000)
    t.equal(reads, 2)
    t.same(
      seen[1]?.map(({ cpu }) => cpu),
      [0, 0.5],
    )
    t.same(seen[2], [
      { cpu: 0, rssBytes: 2, processes: 1 },
      { cpu: 0, rssBytes: 0, processes: 0 },
    ])

    for (const end of untrack) end()
    await clock.advance(3_000)
    t.equal(reads, 2)
    await meter.stop()
    t.equal(clock.sleeping, 0)
  })

  t.test('a table that cannot be read is reported once', async (t) => {
    const clock = new SimClock()
    const log = memoryLog()
    const table = fakeTable()
    table.fault = new Error('no table')
    const meter = createMeter({ clock, log, table }, { intervalMs: 1_000 })
    meter.track({ pid: 1, startTime: '', bootId: '' }, () => undefined)
    await meter.start()
    await clock.advance(5_000)
    await meter.stop()
    t.equal(log.entries.length, 1)
  })
})
