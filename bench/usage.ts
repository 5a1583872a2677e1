import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { BenchNode, configOf, freePort, idleCpuPercent, rssMb, until } from './nodes.ts'
import type { Row } from './table.ts'

const SETTLE_MS = 20_000
const WATCH_MS = 30_000
const IDLE_UNITS = 50
const MANY_UNITS = 200

/** What it costs a node to watch units that do nothing, so that nearly all of it is the sampler. */
export async function measureUsage(home: string): Promise<Row[]> {
  const few = await watch(home, IDLE_UNITS)
  const many = await watch(home, MANY_UNITS)
  return [
    { what: `idle CPU, no mesh, ${IDLE_UNITS} idle units`, unit: '% of a core', samples: [few.cpu], goal: '<= 1' },
    { what: `idle RSS, no mesh, ${IDLE_UNITS} idle units`, unit: 'MB', samples: [few.rss], goal: '<= 55' },
    { what: `idle PSS, no mesh, ${IDLE_UNITS} idle units`, unit: 'MB', samples: [few.pss] },
    { what: `sampling ${MANY_UNITS} units each 2 s`, unit: '% of a core', samples: [many.cpu], goal: '<= 2' },
  ]
}

async function watch(home: string, count: number): Promise<{ cpu: number; rss: number; pss: number }> {
  const ingress = await freePort()
  const units = Object.fromEntries(Array.from({ length: count }, (_, n) => [`u${n}`, { run: ['sleep', '86400'] }]))
  const bench = new BenchNode(join(home, `usage-${count}`), ingress, configOf('usage', ingress, undefined, units))
  bench.node.launch()
  await until(
    async () => (await bench.control.listUnits({})).units.filter(({ state }) => state === 'up').length === count,
  )
  await pause(SETTLE_MS)
  const { pid } = bench.node
  const cpu = await idleCpuPercent([pid], WATCH_MS)
  const figures = { cpu, rss: rssMb(pid), pss: pssMb(pid) }
  await bench.stop()
  return figures
}

function pssMb(pid: number): number {
  const kb = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
  return (Number(kb) * 1024) / 1e6
}
