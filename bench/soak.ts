// Mixed calls through one node and through two for as long as told: `npm run soak -- [--minutes N] [--rate N] [--bursts SECONDS]
// [--seed N] [-o json]` prints what the nodes hold and whether that grows, and what is left when the calls are over. Loopback only.
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { processesOf } from '../test/support/spawned-node.ts'
import { type CallCase, compileLoad, type LoadPrograms, runLoad } from './calls/tools.ts'
import { BenchNode, configOf, freePort, until } from './nodes.ts'
import { type HabitReport, MixedLoad } from './soak/mixed-load.ts'
import { probedNode, type Reading, readingOf } from './soak/readings.ts'
import { type Trend, trendOf } from './soak/trend.ts'

const READING_EVERY_MS = 10_000
const READINGS_A_LINE = 30

/** Growth is looked for in the last two thirds. */
const WARM_SHARE = 1 / 3

/** RSS may grow by so much in an hour. */
const GOAL_MB_PER_H = 1

/** When the calls are over, for connections that closed to be gone, and for counts to arrive. */
const SETTLE_WITHIN_MS = 30_000
const SETTLE_POLL_MS = 1_000

/** As fast as the nodes can, one after the other; some with many connections. */
const BURSTS: readonly CallCase[] = [
  { connections: 8, streams: 8, bytes: 100 },
  { connections: 50, streams: 1, bytes: 100 },
  { connections: 1, streams: 4, bytes: 1_000_000 },
  { connections: 2, streams: 20, bytes: 10_000 },
  { connections: 1, streams: 50, bytes: 100 },
  { connections: 100, streams: 1, bytes: 1_000 },
]
const BURST_S = 0.1

/** What is told of the readings. */
const HELD = ['rssMb', 'heapMb', 'externalMb', 'files', 'sockets'] as const

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    rate: { type: 'string', default: '150' },
    bursts: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    output: { type: 'string', short: 'o', default: 'text' },
  },
})
const [minutes, rate, burstsS, seed] = [values.minutes, values.rate, values.bursts, values.seed].map(Number) as [
  number,
  number,
  number,
  number,
]

/** A node and what it held at each moment. */
interface Soaked {
  readonly name: string
  readonly bench: BenchNode
  readonly readings: (Reading & { readonly atS: number })[]
  before: Reading | undefined
  after: Reading | undefined
}

const home = mkdtempSync(join(tmpdir(), 'hsu-soak-'))
try {
  const loadBefore = loadavg()[0] ?? 0
  const programs = compileLoad(home)
  const { path, notes } = probedNode(join(home, 'probe'))
  const nodes = await begin(programs, path)
  const addresses = nodes.map(({ bench }) => `127.0.0.1:${bench.ingress}`)
  // Both have opened what they keep.
  await new MixedLoad(addresses, 20, seed).end()
  for (const node of nodes) node.before = readingOf(node.bench.node.pid, notes)
  const load = new MixedLoad(addresses, rate, seed)
  const burstCalls = await soak(nodes, programs, notes)
  const habits = await load.end()
  const inFlight = await settle(nodes, notes)
  for (const { bench } of nodes) await bench.stop()
  const told = { minutes, rate, burstsS, loadBefore, burstCalls, skipped: load.skipped, habits, inFlight }
  process.stdout.write(values.output === 'json' ? asJson(told, nodes) : asText(told, nodes))
} finally {
  for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
  rmSync(home, { recursive: true, force: true })
}

/** The unit is on `far`: calls to its ingress go through one node, those to `near` through two. */
async function begin({ echo }: LoadPrograms, path: string): Promise<readonly Soaked[]> {
  const keyFile = join(home, 'mesh.key')
  const units = {
    echo: {
      kind: 'integrated',
      run: [echo, '{port.grpc}'],
      ports: { grpc: 'auto' },
      services: ['echo.Echo'],
      probes: { ready: { tcp: '127.0.0.1:{port.grpc}', every: '5s' } },
    },
  }
  const bench = async (name: string, own: object): Promise<BenchNode> => {
    const ingress = await freePort()
    return new BenchNode(join(home, name), ingress, configOf(name, ingress, keyFile, own), ['env', `PATH=${path}`])
  }
  const [near, far] = [await bench('near', {}), await bench('far', units)]
  await near.node.hsu('mesh', 'create', '--out', keyFile)
  for (const { node } of [near, far]) node.launch()
  for (const { control } of [near, far]) {
    await until(async () => {
      const { services } = await control.listServices({})
      return services.some(({ service, endpoints }) => service === 'echo.Echo' && endpoints.some(({ ready }) => ready))
    })
  }
  return Object.entries({ near, far }).map(([name, bench]) => {
    return { name, bench, readings: [], before: undefined, after: undefined }
  })
}

/** Reads what the nodes hold, and adds a burst now and then; returns how many calls the bursts made. */
async function soak(nodes: readonly Soaked[], programs: LoadPrograms, notes: string): Promise<number> {
  const beganAtMs = performance.now()
  const endsAtMs = beganAtMs + minutes * 60_000
  let [calls, bursts, failed] = [0, 0, 0]
  for (let next = READING_EVERY_MS; beganAtMs + next <= endsAtMs; next += READING_EVERY_MS) {
    while (burstsS > 0 && bursts * burstsS * 1_000 < next - READING_EVERY_MS / 2) {
      const port = nodes[Math.floor(bursts / BURSTS.length) % nodes.length]?.bench.ingress ?? 0
      const burst = BURSTS[bursts % BURSTS.length]
      if (burst !== undefined) {
        const { calls: made, failed: lost } = await runLoad(programs, port, burst, BURST_S)
        calls += made
        failed += lost
      }
      bursts += 1
    }
    await pause(Math.max(0, beganAtMs + next - performance.now()))
    for (const { bench, readings } of nodes) {
      readings.push({ ...readingOf(bench.node.pid, notes), atS: next / 1_000 })
    }
    if ((next / READING_EVERY_MS) % READINGS_A_LINE === 0) {
      const held = nodes.map(({ name, readings }) => `${name} ${readings.at(-1)?.rssMb.toFixed(1)} MB`)
      process.stderr.write(`soak: ${next / 60_000} min: ${held.join(', ')}\n`)
    }
  }
  if (failed > 0) process.stderr.write(`soak: ${failed} calls of bursts failed\n`)
  return calls
}

/** Waits until no call is under way and no more sockets are open than before; returns the calls that are under way all the same. */
async function settle(nodes: readonly Soaked[], notes: string): Promise<number> {
  let inFlight = 0
  const settled = async (): Promise<boolean> => {
    inFlight = 0
    for (const node of nodes) {
      const { calls } = await node.bench.control.getCalls({})
      inFlight += calls.reduce((sum, each) => sum + each.inFlight, 0)
      node.after = readingOf(node.bench.node.pid, notes)
    }
    return inFlight === 0 && nodes.every(({ before, after }) => (after?.sockets ?? 0) <= (before?.sockets ?? 0))
  }
  const endsAtMs = performance.now() + SETTLE_WITHIN_MS
  while (!(await settled()) && performance.now() < endsAtMs) await pause(SETTLE_POLL_MS)
  return inFlight
}

interface Told {
  readonly minutes: number
  readonly rate: number
  readonly burstsS: number
  readonly loadBefore: number
  readonly burstCalls: number
  readonly skipped: number
  readonly habits: readonly HabitReport[]
  /** Calls under way after the end. */
  readonly inFlight: number
}

/** What a reading gains in an hour. */
function growth({ readings }: Soaked, of: (typeof HELD)[number]): Trend {
  const late = readings.slice(Math.floor(readings.length * WARM_SHARE))
  return trendOf(late.map((reading) => ({ x: reading.atS / 3_600, y: reading[of] })))
}

function asJson(told: Told, nodes: readonly Soaked[]): string {
  const rows = nodes.map((node) => {
    const growths = Object.fromEntries(HELD.map((of) => [of, growth(node, of)]))
    const { name, before, after, readings } = node
    return { name, growthPerHour: growths, before, after, readings }
  })
  return `${JSON.stringify({ ...told, goalMbPerH: GOAL_MB_PER_H, nodes: rows }, undefined, 1)}\n`
}

function asText(told: Told, nodes: readonly Soaked[]): string {
  const rows = nodes.flatMap((node) =>
    HELD.map((of) => {
      const { slope, within } = growth(node, of)
      const at = (share: number): number => node.readings[Math.floor((node.readings.length - 1) * share)]?.[of] ?? 0
      const figures = [node.before?.[of] ?? 0, at(WARM_SHARE), at(1), node.after?.[of] ?? 0].map((each) =>
        each.toFixed(1),
      )
      const goal = of === 'rssMb' ? `<= ${GOAL_MB_PER_H}` : ''
      return [node.name, of, ...figures, `${slope.toFixed(2)} +- ${within.toFixed(2)}`, goal]
    }),
  )
  const head = ['node', 'what', 'before', 'after a third', 'at the end', 'calls over', 'growth an hour', 'goal']
  return [
    `${told.minutes} min at ${told.rate} calls/s, a burst each ${told.burstsS} s (${told.burstCalls} calls), load before ${told.loadBefore.toFixed(1)}`,
    `calls under way after the end: ${told.inFlight}; not begun, because too many were under way: ${told.skipped}`,
    '',
    `| ${head.join(' | ')} |`,
    `|${'---|'.repeat(head.length)}`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    '| calls | begun | failed |',
    '|---|---|---|',
    ...told.habits.map(({ name, begun, failed }) => `| ${name} | ${begun} | ${failed} |`),
    '',
    ...told.habits.flatMap(({ name, failures }) => failures.map((failure) => `${name}: ${failure}`)),
    '',
  ].join('\n')
}
