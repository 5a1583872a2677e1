// Calls at a steady rate over three nodes while units restart, drain and die: `npm run chaos -- [--calls N] [--rate N]
// [--seed N] [--only ACT] [--loss 1% [--delay MS]]` prints what was done and which calls failed. On loopback; with --loss, which
// needs root and Python 3, each node is a host of its own (a network namespace), and what goes between them is lost and delayed.
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { below } from '../src/base/random.ts'
import { processesOf } from '../test/support/spawned-node.ts'
import { seeded } from '../src/sim/seeded.ts'
import { BenchNode, configOf, ECHO_UNIT, freePort, until } from './nodes.ts'
import { type ChaosLan, createChaosLan } from './chaos-lan.ts'
import { type Call, SteadyLoad } from './steady-load.ts'
import { percentile } from './table.ts'

const SERVICE = 'echo.v1.EchoService'
const REPLICAS = 2
/** Between two acts, and how long after one its calls are counted as its own. */
const CALM_MS = 1_000
const SETTLE_WITHIN_MS = 60_000

interface Act {
  readonly name: string
  readonly planned: boolean
  readonly run: (nodes: Nodes) => Promise<void>
}

interface Done {
  readonly act: Act
  readonly beganAtMs: number
  readonly endedAtMs: number
}

/** Calls come in through `a` and `b`, which stay; `c` comes and goes. */
interface Nodes {
  readonly a: BenchNode
  readonly b: BenchNode
  readonly c: BenchNode
  readonly some: BenchNode
}

const ACTS: readonly Act[] = [
  {
    name: 'restart',
    planned: true,
    run: async ({ some }) => {
      await some.control.restartUnit({ unit: 'echo' })
    },
  },
  { name: 'scale to 1 and back', planned: true, run: ({ some }) => scaleAndBack(some, 1) },
  { name: 'scale to 3 and back', planned: true, run: ({ some }) => scaleAndBack(some, 3) },
  { name: 'stop and start', planned: true, run: ({ some }) => stopAndStart(some) },
  {
    name: 'upgrade of the node',
    planned: true,
    run: async ({ some }) => {
      await some.control.upgrade({})
    },
  },
  { name: 'down and up of a node', planned: true, run: ({ c }) => downAndUp(c) },
  {
    name: 'kill of the processes',
    planned: false,
    run: async ({ some }) => {
      await some.control.killUnit({ unit: 'echo' })
    },
  },
  { name: 'kill of a node', planned: false, run: ({ c }) => killAndUp(c) },
]

async function scaleAndBack({ control }: BenchNode, replicas: number): Promise<void> {
  await control.scaleUnit({ unit: 'echo', replicas })
  await pause(CALM_MS)
  await control.scaleUnit({ unit: 'echo', replicas: REPLICAS })
}

async function stopAndStart({ control }: BenchNode): Promise<void> {
  await control.stopUnit({ unit: 'echo' })
  await pause(CALM_MS)
  await control.startUnit({ unit: 'echo' })
}

async function downAndUp({ control, node }: BenchNode): Promise<void> {
  await control.shutdown({})
  await node.ended()
  await pause(CALM_MS)
  node.launch()
}

async function killAndUp({ node }: BenchNode): Promise<void> {
  await node.kill()
  await pause(CALM_MS)
  node.launch()
}

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '100000' },
    rate: { type: 'string', default: '150' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    loss: { type: 'string' },
    delay: { type: 'string', default: '1' },
  },
})
const [calls, rate, seed] = [Number(values.calls), Number(values.rate), Number(values.seed)]
const acts = ACTS.filter(({ name }) => name.includes(values.only))

const HOSTS = ['a', 'b', 'c'] as const
const lossPercent = values.loss === undefined ? undefined : Number.parseFloat(values.loss)

const home = mkdtempSync(join(tmpdir(), 'hsu-chaos-'))
const lan = lossPercent === undefined ? undefined : createChaosLan(home, HOSTS, wireOf(lossPercent))
try {
  const loadBefore = loadavg()[0] ?? 0
  const nodes = await begin()
  const load = new SteadyLoad(
    await Promise.all(
      (['a', 'b'] as const).map((name) => lan?.wayTo(name) ?? Promise.resolve(`127.0.0.1:${nodes[name].ingress}`)),
    ),
    rate,
    calls,
  )
  const state = { over: false }
  const over = load.end().finally(() => (state.over = true))
  const done = await disturb(nodes, () => state.over)
  await over
  for (const { node, ...bench } of [nodes.a, nodes.b, nodes.c].map((bench) => ({
    node: bench.node,
    stop: () => bench.stop(),
  }))) {
    await bench.stop().catch(() => node.kill())
  }
  process.stdout.write(report(load.calls, done, loadBefore))
} finally {
  for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
  lan?.remove()
  rmSync(home, { recursive: true, force: true })
}

async function begin(): Promise<Nodes> {
  const keyFile = join(home, 'mesh.key')
  const bench = async (name: (typeof HOSTS)[number]): Promise<BenchNode> => {
    const units = { echo: { ...ECHO_UNIT, replicas: REPLICAS, restart: { give_up: '1000/1m', backoff: '200ms..1s' } } }
    const host = lan?.host(name, keyFile, units)
    if (host !== undefined) return new BenchNode(join(home, name), host.ingress, host.config, host.prefix)
    const ingress = await freePort()
    return new BenchNode(join(home, name), ingress, configOf(name, ingress, keyFile, units))
  }
  const [a, b, c] = [await bench('a'), await bench('b'), await bench('c')]
  await a.node.hsu('mesh', 'create', '--out', keyFile)
  for (const { node } of [a, b, c]) node.launch()
  const nodes = { a, b, c, some: a }
  await untilCalm(nodes)
  return nodes
}

/** Until all nodes see every replica of all nodes. */
async function untilCalm({ a, b, c }: Nodes): Promise<void> {
  for (const { control } of [a, b, c]) {
    await until(async () => {
      const { services } = await control.listServices({}, { timeoutMs: 2_000 })
      const echo = services.find(({ service }) => service === SERVICE)
      return echo?.endpoints.filter(({ ready }) => ready).length === 3 * REPLICAS
    }, SETTLE_WITHIN_MS)
  }
}

async function disturb(nodes: Nodes, isOver: () => boolean): Promise<readonly Done[]> {
  const random = seeded(seed)
  const done: Done[] = []
  await pause(CALM_MS)
  for (let turn = 0; !isOver(); turn += 1) {
    const act = acts[turn % acts.length]
    const some = [nodes.a, nodes.b, nodes.c][below(3, random)]
    if (act === undefined || some === undefined) break
    const beganAtMs = performance.now()
    try {
      await act.run({ ...nodes, some })
      await untilCalm(nodes)
    } catch (error) {
      process.stderr.write(`chaos: ${act.name}: ${String(error)}\n`)
    }
    await pause(CALM_MS)
    done.push({ act, beganAtMs, endedAtMs: performance.now() })
    process.stderr.write(`chaos: ${act.name}\n`)
  }
  return done
}

function report(calls: readonly Call[], done: readonly Done[], loadBefore: number): string {
  const rows = acts.map((act) => {
    const own = done.filter((each) => each.act === act)
    const during = calls.filter((call) => own.some((each) => overlaps(call, each)))
    return [act.name, act.planned ? 'planned' : 'unplanned', own.length, during.length, failed(during).length]
  })
  const times = calls.map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs)
  const [p50, p99, longest] = [50, 99, 100].map((share) => percentile(times, share).toFixed(0))
  const unplanned = done.filter(({ act }) => !act.planned)
  const failures = failed(calls)
  const byDeath = failures.filter((call) => unplanned.some((each) => overlaps(call, each)))
  const reasons = new Map<string, number>()
  for (const { failure = '' } of failures) reasons.set(failure, (reasons.get(failure) ?? 0) + 1)
  return [
    `${calls.length} calls at ${rate}/s, seed ${seed}, load before ${loadBefore.toFixed(1)}${lan?.label ?? ''}`,
    `failed: ${failures.length - byDeath.length} in planned acts and between acts, ${byDeath.length} in unplanned ones`,
    `a call: p50 ${p50} ms, p99 ${p99} ms, longest ${longest} ms`,
    '',
    '| act | | times | calls meanwhile | failed |',
    '|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    ...[...reasons].map(([reason, count]) => `${count} x ${reason}`),
    '',
  ].join('\n')
}

function wireOf(percent: number): ChaosLan['wire'] {
  return { loss: percent / 100, delayMs: Number(values.delay) }
}

function failed(calls: readonly Call[]): readonly Call[] {
  return calls.filter(({ failure }) => failure !== undefined)
}

function overlaps(call: Call, { beganAtMs, endedAtMs }: Done): boolean {
  return call.endedAtMs > beganAtMs && call.beganAtMs < endedAtMs
}
