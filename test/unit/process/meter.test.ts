import t from 'tap'
import { createMeter } from '../../../src/process/meter.ts'
import { measure, type Reading, type Usage } from '../../../src/process/usage.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

const sample = (atMs: number, ...tree: Parameters<typeof processInfo>[0][]) => ({ atMs, tree: tree.map(processInfo) })
const reading = (...given: Parameters<typeof sample>): Reading => {
  const first = sample(...given)
  return { ...first, usage: measure(undefined, first) }
}

t.test('measure', async (t) => {
  t.test('the first reading knows memory but no rate', async (t) => {
    t.same(measure(undefined, sample(0, { pid: 1, cpuMs: 900, rssBytes: 10 }, { pid: 2, rssBytes: 5 })), {
      cpu: 0,
      cpuMs: 900,
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

  t.test('a figure that one process does not tell is absent, not a part of the truth', async (t) => {
    const tree = [
      { ...processInfo({ pid: 1, threads: 3 }), files: 7, pssBytes: 100 },
      { ...processInfo({ pid: 2, threads: 2 }), files: undefined, pssBytes: 50 },
    ]
    const usage = measure(undefined, { atMs: 0, tree })
    t.equal(usage.threads, 5)
    t.equal(usage.pssBytes, 150)
    t.notOk('files' in usage || 'ioReadBytes' in usage)
  })

  t.test('counters never go back, and hold what reaped children and lost ones did', async (t) => {
    const io = (pid: number, ioReadBytes: number, cpuMs = 0) => ({ ...processInfo({ pid, cpuMs }), ioReadBytes })
    let last: Reading | undefined
    const read = (...tree: ReturnType<typeof io>[]): Usage => {
      const now = { atMs: (last?.atMs ?? 0) + 1_000, tree }
      last = { ...now, usage: measure(last, now) }
      return last.usage
    }
    t.match(read(io(1, 100, 10), io(2, 50, 20)), { ioReadBytes: 150, cpuMs: 30 })
    t.match(read(io(1, 190, 15)), { ioReadBytes: 190, cpuMs: 35 }, 'the child was reaped, with 30 more')
    t.match(read(io(1, 190, 15), io(3, 40, 5)), { ioReadBytes: 230, cpuMs: 40 })
    t.match(read(io(1, 190, 15)), { ioReadBytes: 230, cpuMs: 40 }, 'nobody waited for the child')
    t.match(read(io(1, 200, 16)), { ioReadBytes: 240, cpuMs: 41 })
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
      { cpu: 0, cpuMs: 0, rssBytes: 2, processes: 1 },
      { cpu: 0, cpuMs: 0, rssBytes: 0, processes: 0 },
    ])

    for (const end of untrack) end()
    await clock.advance(3_000)
    t.equal(reads, 2)
    await meter.stop()
    t.equal(clock.sleeping, 0)
  })

  t.test('a stranger is not read again until a unit begins or a while has passed', async (t) => {
    const clock = new SimClock()
    const table = fakeTable([
      processInfo({ pid: 1, ppid: 0 }),
      processInfo({ pid: 2, ppid: 1 }),
      processInfo({ pid: 3, ppid: 0 }),
    ])
    const skipped: number[][] = []
    const list = async (except: ReadonlySet<number> = new Set()) => {
      skipped.push([...except])
      return table.processes.filter(({ pid }) => !except.has(pid))
    }
    const meter = createMeter({ clock, log: memoryLog(), table: { ...table, list } }, { intervalMs: 1_000 })
    const track = (pid: number, seen: Usage[]) =>
      meter.track({ pid, startTime: `start-${pid}`, bootId: 'boot-1' }, (usage) => seen.push(usage))
    const first: Usage[] = []
    const second: Usage[] = []
    track(1, first)
    await meter.start()
    await clock.advance(1_500)
    t.same(skipped, [[], [3]])
    track(3, second)
    await clock.advance(1_000)
    t.same(skipped.at(-1), [])
    t.same([first.at(-1)?.processes, second.at(-1)?.processes], [2, 1])
    table.processes = [
      processInfo({ pid: 1, ppid: 0 }),
      processInfo({ pid: 4, ppid: 0 }),
      processInfo({ pid: 3, ppid: 0 }),
    ]
    await clock.advance(1_000)
    table.processes = [
      processInfo({ pid: 1, ppid: 0 }),
      processInfo({ pid: 4, ppid: 1 }),
      processInfo({ pid: 3, ppid: 0 }),
    ]
    await clock.advance(20_000)
    t.equal(first.at(-1)?.processes, 2, 'pid 4 became a child of the unit')
    await meter.stop()
  })

  t.test('the details of a process that did not run are read again only after a while', async (t) => {
    const clock = new SimClock()
    const table = fakeTable([processInfo({ pid: 1 })])
    let reads = 0
    const details = () => ({ files: (reads += 1) })
    const meter = createMeter(
      { clock, log: memoryLog(), table: { ...table, list: async () => table.processes, details } },
      { intervalMs: 1_000 },
    )
    const seen: Usage[] = []
    meter.track({ pid: 1, startTime: 'start-1', bootId: 'boot-1' }, (usage) => seen.push(usage))
    await meter.start()
    await clock.advance(5_500)
    t.equal(reads, 1)
    table.processes = [processInfo({ pid: 1, cpuMs: 10 })]
    await clock.advance(1_000)
    t.equal(seen.at(-1)?.files, 2, 'it ran')
    await clock.advance(14_000)
    t.equal(reads, 2)
    await clock.advance(2_000)
    t.equal(seen.at(-1)?.files, 3, 'it may have done a little that does not show')
    table.processes = [processInfo({ pid: 1, startTime: 'another', cpuMs: 10 })]
    await clock.advance(1_000)
    t.equal(reads, 3, 'the pid belongs to a stranger')
    await meter.stop()
  })

  t.test('a child with the pid of one that ended is measured anew', async (t) => {
    const clock = new SimClock()
    const child = (startTime: string) => [processInfo({ pid: 1 }), processInfo({ pid: 2, ppid: 1, startTime })]
    const table = fakeTable(child('first'))
    const list = async () => table.processes
    let sizes = { pss: 10, files: 1 }
    const details = () => ({ files: sizes.files })
    const pssBytes = async () => sizes.pss
    const meter = createMeter(
      { clock, log: memoryLog(), table: { ...table, list, details, pssBytes } },
      { intervalMs: 1_000 },
    )
    const seen: Usage[] = []
    meter.track({ pid: 1, startTime: 'start-1', bootId: 'boot-1' }, (usage) => seen.push(usage))
    await meter.start()
    await clock.advance(1_500)
    t.match(seen.at(-1), { pssBytes: 20, files: 2 })
    sizes = { pss: 70, files: 7 }
    table.processes = child('second')
    await clock.advance(1_000)
    t.equal(seen.at(-1)?.pssBytes, undefined, 'not yet read of the new one')
    t.equal(seen.at(-1)?.files, 8)
    await clock.advance(1_000)
    t.equal(seen.at(-1)?.pssBytes, 80)
    await meter.stop()
  })

  t.test('shares of memory are read bit by bit, and anew after a while', async (t) => {
    const clock = new SimClock()
    const pids = Array.from({ length: 20 }, (_, n) => n + 1)
    const table = fakeTable(pids.map((pid) => processInfo({ pid, ppid: pid === 1 ? 0 : 1 })))
    let reads = 0
    const pssBytes = async () => {
      reads += 1
      return 10
    }
    const meter = createMeter({ clock, log: memoryLog(), table: { ...table, pssBytes } }, { intervalMs: 1_000 })
    const seen: Usage[] = []
    meter.track({ pid: 1, startTime: 'start-1', bootId: 'boot-1' }, (usage) => seen.push(usage))
    await meter.start()
    await clock.advance(2_500)
    t.same(
      seen.map((usage) => usage.pssBytes),
      [undefined, undefined, 200],
    )
    t.equal(reads, 20)
    await clock.advance(50_000)
    t.equal(reads, 20)
    await clock.advance(20_000)
    t.equal(reads, 40)
    await meter.stop()
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
