import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Contender, contenders, hsu } from './contenders.ts'
import { BenchNode, configOf, freePort, idleCpuPercent, pssMb, rssMb, until } from './nodes.ts'
import type { Row } from './table.ts'
import { makeTrivialUnits } from './trivial-units.ts'

const SETTLE_MS = 20_000
const WATCH_MS = 30_000
const IDLE_UNITS = 50
const MANY_UNITS = 200
const UP_TIMEOUT_MS = 180_000

/** What it costs to watch units that do nothing, beside what it costs others; and what reading the usage of many costs. */
export async function measureUsage(home: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const contender of contenders()) rows.push(...(await watchIdle(contender, home)))
  return [...rows, ...(await watchAsked(home))]
}

async function watchIdle(contender: Contender, home: string): Promise<Row[]> {
  const units = makeTrivialUnits(join(home, `idle-${contender.name}`), IDLE_UNITS)
  const supervising = contender.start(units)
  try {
    await until(() => units.names.every((name) => units.lastStart(name) !== undefined), UP_TIMEOUT_MS)
    await pause(SETTLE_MS)
    const pid = supervising.pid()
    const cpu = await idleCpuPercent([pid], WATCH_MS)
    const what = `${contender.name}, ${IDLE_UNITS} idle units`
    const isHsu = contender === hsu
    return [
      { what: `${what}: CPU`, unit: '% of a core', samples: [cpu], ...(isHsu && { goal: '<= 1' }) },
      { what: `${what}: RSS`, unit: 'MB', samples: [rssMb(pid)], ...(isHsu && { goal: '<= 55' }) },
      { what: `${what}: PSS`, unit: 'MB', samples: [pssMb(pid)] },
      { what: `${what}: PSS of its other helpers`, unit: 'MB', samples: [helpersPssMb(pid, units.directory)] },
    ]
  } finally {
    await supervising.stop()
    units.endAll()
  }
}

/** A node whose control API is used, and which reads the usage of many units all the while. */
async function watchAsked(home: string): Promise<Row[]> {
  const ingress = await freePort()
  const units = Object.fromEntries(Array.from({ length: MANY_UNITS }, (_, n) => [`u${n}`, { run: ['sleep', '86400'] }]))
  const bench = new BenchNode(join(home, 'usage'), ingress, configOf('usage', ingress, undefined, units))
  bench.node.launch()
  const countUp = async (): Promise<number> => {
    const { units } = await bench.control.listUnits({})
    return units.filter(({ state }) => state === 'up').length
  }
  await until(async () => (await countUp()) === MANY_UNITS, UP_TIMEOUT_MS)
  await pause(SETTLE_MS)
  const { pid } = bench.node
  const cpu = await idleCpuPercent([pid], WATCH_MS)
  const what = `HSU, ${MANY_UNITS} idle units, after calls of its API`
  const rows: Row[] = [
    { what: `${what}: CPU, sampling included`, unit: '% of a core', samples: [cpu], goal: '<= 2' },
    { what: `${what}: RSS`, unit: 'MB', samples: [rssMb(pid)] },
    { what: `${what}: PSS`, unit: 'MB', samples: [pssMb(pid)] },
  ]
  await bench.stop()
  return rows
}

/** Of the processes below a supervisor that are not units: the shell of each of HSU's. `directory` is where the units are. */
function helpersPssMb(supervisor: number, directory: string): number {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === supervisor)
  const helpers = children.filter((pid) => argvOf(pid).includes(directory))
  return helpers.reduce((sum, pid) => sum + pssMb(Number(pid)), 0)
}

function parentOf(pid: string): number {
  return Number(/\) \S (\d+)/.exec(read(`/proc/${pid}/stat`))?.[1])
}

function argvOf(pid: string): string {
  return read(`/proc/${pid}/cmdline`)
}

/** Empty for a process that has ended meanwhile. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
