import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Contender, contenders, hsu } from './contenders.ts'
import { until } from './nodes.ts'
import { percentile, type Row } from './table.ts'
import { makeTrivialUnits, type TrivialUnits, wallMs } from './trivial-units.ts'

/** Each supervisor has its turn this many times, so that a machine that slows down does not do it to one of them alone. */
const ROUNDS = 2
/** Crashes in each turn; together enough for a p99. */
const CRASHES = 100
const CRASHES_OF_SLOW = 15
/** Between a restart and the next crash: a supervisor shall be at rest again. */
const REST_MS = 100
const SETTLE_MS = 2_000
const POLL_MS = 1
const GIVE_UP_MS = 60_000
const UP_TIMEOUT_MS = 180_000

/** How many units, whether they crash, and how soon HSU is to have them all up. */
const TURNS = [
  { count: 20, crash: true, goal: '<= 2000' },
  { count: 200, crash: false, goal: '<= 10000' },
]

/** What one supervisor did in all its turns, in milliseconds. */
interface Figures {
  readonly upMs: number[]
  readonly restartMs: number[]
}

/** Many trivial units up from nothing, and one of them from its crash until the next of its name runs. */
export async function measureRestart(home: string): Promise<Row[]> {
  const rows: Row[] = []
  const able = contenders()
  for (const { count, crash, goal } of TURNS) {
    const figures = new Map<Contender, Figures>(able.map((contender) => [contender, { upMs: [], restartMs: [] }]))
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [contender, into] of figures) {
        const units = makeTrivialUnits(join(home, `${contender.name}-${count}-${round}`), count)
        await measureOne(contender, units, crash, into)
      }
    }
    for (const [contender, all] of figures) rows.push(...rowsOf(contender, count, all, goal))
  }
  return rows
}

function rowsOf(contender: Contender, count: number, { upMs, restartMs }: Figures, upGoal: string): Row[] {
  const what = `${contender.name}, ${count} units`
  const isHsu = contender === hsu
  const rows: Row[] = [
    { what: `${what}: start to all running`, unit: 'ms', samples: upMs, ...(isHsu && { goal: upGoal }) },
  ]
  if (restartMs.length === 0) return rows
  const p99 = [percentile(restartMs, 99)]
  return [
    ...rows,
    { what: `${what}: crash to running`, unit: 'ms', samples: restartMs },
    { what: `${what}: crash to running, p99`, unit: 'ms', samples: p99, ...(isHsu && { goal: '<= 50' }) },
  ]
}

async function measureOne(contender: Contender, units: TrivialUnits, crash: boolean, into: Figures): Promise<void> {
  const { names, lastStart } = units
  const startedAtMs = wallMs()
  const supervising = contender.start(units)
  try {
    await until(() => names.every((name) => lastStart(name) !== undefined), UP_TIMEOUT_MS)
    into.upMs.push(Math.max(...names.map((name) => lastStart(name)?.atMs ?? 0)) - startedAtMs)
    if (!crash) return
    await pause(SETTLE_MS)
    const crashes = contender.isSlow === true ? CRASHES_OF_SLOW : CRASHES
    for (let crashed = 0; crashed < crashes; crashed += 1) {
      into.restartMs.push(await crashOnce(units, names[(crashed * 7) % names.length] ?? ''))
      await pause(REST_MS)
    }
  } finally {
    await supervising.stop()
    units.endAll()
  }
}

/** Milliseconds from the kill of a unit's program to the first words of the next. */
async function crashOnce({ lastStart }: TrivialUnits, name: string): Promise<number> {
  const before = lastStart(name)
  if (before === undefined) throw new Error(`bench: ${name} has no start`)
  const killedAtMs = wallMs()
  process.kill(before.pid, 'SIGKILL')
  for (;;) {
    const now = lastStart(name)
    if (now !== undefined && now.pid !== before.pid) return now.atMs - killedAtMs
    if (wallMs() - killedAtMs > GIVE_UP_MS) throw new Error(`bench: ${name} was not started again within a minute`)
    await pause(POLL_MS)
  }
}
