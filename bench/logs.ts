import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ControlService, connect } from 'hsu'
import { type Contender, contenders, hsu, type Supervising } from './contenders.ts'
import { floodArgv, floodOnce, type Order, type Report, stored } from './flood.ts'
import { cpuMs } from './nodes.ts'
import { percentile, type Row } from './table.ts'

const PAIRS = 7
const REST_MS = 1_000
const ASK_EVERY_MS = 10
const MEGABYTE = 1_000_000

/** As fast as the program can, within what logs.backlog holds by default; and 100 MB/s for a while. */
const FLOODS: readonly { readonly name: string; readonly order: Order }[] = [
  { name: '200 MB at once', order: { bytes: 200 * MEGABYTE, bytesPerMs: 1e12 } },
  { name: '100 MB/s for 5 s', order: { bytes: 500 * MEGABYTE, bytesPerMs: 100_000 } },
]

/** What was seen of one supervisor in one kind of flood; one of each in each pair. */
class Figures {
  readonly ratio: number[] = []
  readonly worstMs: number[] = []
  readonly plainWorstMs: number[] = []
  readonly cpuMsPerMb: number[] = []
  readonly lagMs: number[] = []
  readonly answerP99Ms: number[] = []
  readonly answerMaxMs: number[] = []

  compare(taken: Report, free: Report): void {
    this.ratio.push(taken.ms / free.ms)
    this.worstMs.push(taken.worstMs)
    this.plainWorstMs.push(free.worstMs)
  }

  answered(afterMs: readonly number[]): void {
    this.answerP99Ms.push(percentile(afterMs, 99))
    this.answerMaxMs.push(Math.max(...afterMs))
  }
}

/** A unit that floods its output: what that costs the unit, beside a plain file, and the supervisor that takes it. */
export async function measureLogs(home: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const contender of contenders()) {
    const { logsIn } = contender
    if (logsIn !== undefined) rows.push(...(await measureOne(contender, logsIn, home)))
  }
  return rows
}

async function measureOne(contender: Contender, logsIn: (directory: string) => string, home: string): Promise<Row[]> {
  const directory = join(home, `flood-${contender.name}`)
  mkdirSync(directory, { recursive: true })
  const plain = startPlain(join(directory, 'plain'))
  const supervising = contender.start({ directory, names: ['flood'], argvOf: () => floodArgv(directory) })
  const asker = contender === hsu ? new Asker(join(directory, 'node', 'run', 'control.sock')) : undefined
  const rows: Row[] = []
  let run = 0
  try {
    for (const { name, order } of FLOODS) {
      const figures = new Figures()
      for (let pair = 0; pair < PAIRS; pair += 1) {
        run += 1
        await pause(REST_MS)
        const free = await plain.flood(run, order)
        await pause(REST_MS)
        asker?.start()
        const taken = await takenFlood(supervising, { directory, logs: logsIn(directory) }, run, order, figures)
        if (asker !== undefined) figures.answered(await asker.stop())
        figures.compare(taken, free)
      }
      rows.push(...rowsOf(contender, name, figures))
    }
  } finally {
    asker?.close()
    await supervising.stop()
    await plain.stop()
  }
  return rows
}

/** One flood of a supervised unit, from its first byte until the supervisor has stored the last. */
async function takenFlood(
  supervising: Supervising,
  { directory, logs }: { readonly directory: string; readonly logs: string },
  run: number,
  order: Order,
  into: Figures,
): Promise<Report> {
  const cpuBeforeMs = cpuMs([supervising.pid()])
  const report = await floodOnce(directory, run, order)
  const writtenAtMs = performance.now()
  await stored(logs, run)
  into.lagMs.push(performance.now() - writtenAtMs)
  into.cpuMsPerMb.push((cpuMs([supervising.pid()]) - cpuBeforeMs) / (order.bytes / MEGABYTE))
  return report
}

/** The same program with a file as its output and nobody to read it. */
function startPlain(directory: string): { flood(run: number, order: Order): Promise<Report>; stop(): Promise<void> } {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'output')
  const output = openSync(file, 'a')
  const [program, ...args] = floodArgv(directory)
  const child = spawn(program, args, { stdio: ['ignore', output, 'inherit'] })
  closeSync(output)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return {
    async flood(run, order) {
      const report = await floodOnce(directory, run, order)
      truncateSync(file)
      return report
    },
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Asks a node again and again for its units: how long that takes shows how its event loop is held. */
class Asker {
  readonly #connection
  readonly #control
  #asking: Promise<number[]> = Promise.resolve([])
  #isOn = false

  constructor(socket: string) {
    this.#connection = connect(`unix:${socket}`)
    this.#control = this.#connection.client(ControlService)
  }

  start(): void {
    this.#isOn = true
    this.#asking = this.#ask()
  }

  /** Milliseconds of each answer since `start`. */
  stop(): Promise<number[]> {
    this.#isOn = false
    return this.#asking
  }

  close(): void {
    this.#connection.close()
  }

  async #ask(): Promise<number[]> {
    const answers: number[] = []
    while (this.#isOn) {
      const askedAt = performance.now()
      await this.#control.listUnits({})
      answers.push(performance.now() - askedAt)
      await pause(ASK_EVERY_MS)
    }
    return answers
  }
}

function rowsOf(contender: Contender, flood: string, figures: Figures): Row[] {
  const what = `${contender.name}, ${flood}`
  const isHsu = contender === hsu
  const { ratio, worstMs, plainWorstMs, cpuMsPerMb, lagMs, answerP99Ms, answerMaxMs } = figures
  const rows: Row[] = [
    { what: `${what}: time to write / to a plain file`, unit: 'ratio', samples: ratio, ...(isHsu && { goal: '~1' }) },
    { what: `${what}: write that waited longest`, unit: 'ms', samples: worstMs },
    { what: `${what}: the same, plain file`, unit: 'ms', samples: plainWorstMs },
    { what: `${what}: CPU of the supervisor`, unit: 'ms/MB', samples: cpuMsPerMb },
    { what: `${what}: end of writing to all stored`, unit: 'ms', samples: lagMs },
  ]
  if (!isHsu) return rows
  return [
    ...rows,
    { what: `${what}: answers meanwhile, p99`, unit: 'ms', samples: answerP99Ms },
    { what: `${what}: answers meanwhile, slowest`, unit: 'ms', samples: answerMaxMs },
  ]
}
