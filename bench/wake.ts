import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { callEcho, type EchoAnswer } from '../test/support/echo-load.ts'
import { accepts, BenchNode, configOf, ECHO_UNIT, freePort, until } from './nodes.ts'
import { percentile, type Row } from './table.ts'

/** Pairs of a start by hand and a wake; the first pair warms up caches and is not counted. */
const ROUNDS = 24
const CROWD = 100
const CROWD_ROUNDS = 2
const POLL_MS = 2
/** Between what ended a unit and the next start: the machine shall be at rest again. */
const REST_MS = 100
const OK = 0

/** The command of the echo example, by hand and as a unit; each start adds a line to `starts`. */
function commandOf(starts: string): string[] {
  return ['sh', '-c', `echo >> '${starts}'; exec "$@"`, 'sh', ...ECHO_UNIT.run]
}

/** How long the first call to a unit that sleeps takes, beside how long its program takes to answer when run by hand. */
export async function measureWake(home: string): Promise<Row[]> {
  const starts = join(home, 'wake-starts')
  const ingress = await freePort()
  const unit = {
    ...ECHO_UNIT,
    run: commandOf(starts),
    services: ['echo.v1.EchoService'],
    activation: 'on-call',
    idle: { stop_after: '1s' },
  }
  const bench = new BenchNode(join(home, 'wake'), ingress, configOf('wake', ingress, undefined, { echo: unit }))
  bench.node.launch()
  try {
    return await measure(bench, starts)
  } finally {
    await bench.stop()
  }
}

async function measure(bench: BenchNode, starts: string): Promise<Row[]> {
  const own: number[] = []
  const wake: number[] = []
  for (let round = 0; round <= ROUNDS; round += 1) {
    // The order changes, so that a machine that slows down does not do it to one of them alone.
    const turns = [async () => own.push(await ownStartMs()), async () => wake.push(await wakeMs(bench))]
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
      await untilAsleep(bench)
      await turn()
    }
  }
  const crowds: Crowd[] = []
  for (let round = 0; round < CROWD_ROUNDS; round += 1) {
    await untilAsleep(bench)
    crowds.push(await wakeByMany(bench, starts))
  }
  return [...rowsOf(own.slice(1), wake.slice(1)), ...crowdRows(crowds)]
}

function rowsOf(own: readonly number[], wake: readonly number[]): Row[] {
  const beyond = wake.map((tookMs, pair) => tookMs - (own[pair] ?? Number.NaN))
  return [
    { what: 'start by hand to first answer', unit: 'ms', samples: own },
    { what: 'first call to a sleeping unit', unit: 'ms', samples: wake },
    { what: 'first call to a sleeping unit, p99', unit: 'ms', samples: [percentile(wake, 99)] },
    { what: 'the same beyond the start by hand, pair by pair', unit: 'ms', samples: beyond },
    { what: 'beyond the start by hand, p99', unit: 'ms', samples: [percentile(beyond, 99)], goal: '<= 50' },
  ]
}

/** What became of many first calls at once. */
interface Crowd {
  readonly processes: number
  readonly tookMs: readonly number[]
}

function crowdRows(crowds: readonly Crowd[]): Row[] {
  const what = `${CROWD} first calls at once`
  const processes = crowds.map((crowd) => crowd.processes)
  return [
    { what: `${what}: processes started`, unit: 'processes', samples: processes, goal: '1' },
    { what: `${what}: p50`, unit: 'ms', samples: crowds.map(({ tookMs }) => percentile(tookMs, 50)) },
    { what: `${what}: p99`, unit: 'ms', samples: crowds.map(({ tookMs }) => percentile(tookMs, 99)) },
  ]
}

async function untilAsleep({ control }: BenchNode): Promise<void> {
  await until(async () => {
    const { units } = await control.listUnits({}, { timeoutMs: 1_000 })
    return units.length === 1 && units.every(({ state }) => state === 'asleep')
  })
  await pause(REST_MS)
}

/** From the start of the program until its answer to a client that tries to connect each 2 ms. */
async function ownStartMs(): Promise<number> {
  const port = await freePort()
  const [file = '', ...args] = commandOf('/dev/null').map((word) => (word === '{port.grpc}' ? String(port) : word))
  const beganAtMs = performance.now()
  const program = spawn(file, args, { stdio: 'ignore' })
  const ended = once(program, 'exit')
  try {
    while (!(await accepts(port))) {
      if (program.exitCode !== null) throw new Error(`bench: the echo example ended with ${program.exitCode}`)
      await pause(POLL_MS)
    }
    answered(await callEcho(`127.0.0.1:${port}`))
    return performance.now() - beganAtMs
  } finally {
    program.kill()
    await ended
  }
}

async function wakeMs({ ingress }: BenchNode): Promise<number> {
  return answered(await callEcho(`127.0.0.1:${ingress}`))
}

async function wakeByMany({ ingress }: BenchNode, starts: string): Promise<Crowd> {
  const before = linesOf(starts)
  const answers = await Promise.all(Array.from({ length: CROWD }, () => callEcho(`127.0.0.1:${ingress}`)))
  return { processes: linesOf(starts) - before, tookMs: answers.map(answered) }
}

function answered({ code, details, tookMs }: EchoAnswer): number {
  if (code !== OK) throw new Error(`bench: a call failed: ${details}`)
  return tookMs
}

function linesOf(file: string): number {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0
}
