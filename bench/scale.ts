// What a mesh costs and how fast it is, by its size, in simulation: `node scripts/scale.mjs [NODES...]` prints a table.
import { registration, SimMesh } from '../test/support/sim-mesh.ts'
import { median } from './table.ts'

const IDLE_MS = 20_000
const RUNS = 3

/** How long a partition lasts that cuts off one node: until that has noticed. */
const ALONE_LIMIT_MS = 300_000

interface Run {
  /** All start at once: until the first and the last node see all. */
  readonly together: number
  readonly killed: number
  readonly silent: number
  /** One is cut off: until the others know, and until it takes more than half of them for dead. */
  readonly cutOff: number
  readonly alone: number
  /** After the cable is back: until all agree. */
  readonly healed: number
  /** One node registers something else: until all know, and the messages that took. */
  readonly change: number
  readonly changeMessages: number
  /** While nothing happens, a node and second. */
  readonly messages: number
  readonly bytes: number
  readonly heapKib: number
}

const COLUMNS: readonly (readonly [title: string, show: (run: Run) => string])[] = [
  ['all at once', ({ together }) => `${(together / 1_000).toFixed(1)} s`],
  ['killed', ({ killed }) => `${killed} ms`],
  ['silent', ({ silent }) => `${silent} ms`],
  ['cut off alone: others know', ({ cutOff }) => `${cutOff} ms`],
  ['it knows of half', ({ alone }) => `${(alone / 1_000).toFixed(1)} s`],
  ['agree after repair', ({ healed }) => `${(healed / 1_000).toFixed(1)} s`],
  ['change everywhere', ({ change }) => `${change} ms`],
  ['its messages a node', ({ changeMessages }) => changeMessages.toFixed(1)],
  ['idle messages/s', ({ messages }) => messages.toFixed(1)],
  ['idle bytes/s', ({ bytes }) => bytes.toFixed(0)],
  ['heap a node', ({ heapKib }) => `${heapKib.toFixed(0)} KiB`],
]

const sizes = process.argv.slice(2).map(Number)
say(['nodes', ...COLUMNS.map(([title]) => title), 'seconds to simulate'])
say(Array.from({ length: COLUMNS.length + 2 }, () => '---'))
for (const nodes of sizes.length > 0 ? sizes : [10, 50, 200]) {
  const startedAt = performance.now()
  const runs: Run[] = []
  for (let seed = 1; seed <= (nodes > 100 ? 1 : RUNS); seed += 1) runs.push(await measure(nodes, seed))
  const figures = COLUMNS.map(([, show]) => show(medianOf(runs)))
  say([String(nodes), ...figures, ((performance.now() - startedAt) / 1_000).toFixed(0)])
}

function say(cells: readonly string[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}

function medianOf(runs: readonly Run[]): Run {
  const [first] = runs
  const names = Object.keys(first ?? {}) as (keyof Run)[]
  return Object.fromEntries(names.map((name) => [name, median(runs.map((run) => run[name]))])) as unknown as Run
}

async function measure(nodes: number, seed: number): Promise<Run> {
  const heapBefore = heapBytes()
  const { sim, together } = await formed(nodes, seed)
  const heapKib = (heapBytes() - heapBefore) / 1_024 / nodes
  const { network, clock } = sim
  const count = (): { sent: number; bytes: number } => ({ sent: network.sent, bytes: network.sentBytes })

  const before = count()
  await clock.advance(IDLE_MS)
  const perNode = nodes * (IDLE_MS / 1_000)
  const [messages, bytes] = [(network.sent - before.sent) / perNode, (network.sentBytes - before.bytes) / perNode]

  const atChange = network.sent
  sim.node('n3').mesh?.publish([registration('changed')])
  const known = (): boolean => sim.running().every(({ name }) => sim.unitsOf(name, 'n3')?.[0] === 'changed')
  const change = await passUntil(sim, known, 1)
  const changeMessages = (network.sent - atChange) / nodes

  await sim.crash('n1')
  const killed = await untilDead(sim, 'n1', ['n1'])
  network.freeze(sim.node('n2').nodeId)
  const silent = await untilDead(sim, 'n2', ['n1', 'n2'])
  network.thaw(sim.node('n2').nodeId)
  await clock.advance(30_000)

  network.partition(sim.idOf(['n4']))
  const cutOff = await untilDead(sim, 'n4', ['n1', 'n4'])
  const deadTo4 = (): number => sim.nodes.filter(({ name }) => sim.statusOf('n4', name) === 'dead').length
  const alone = cutOff + (await passUntil(sim, () => deadTo4() > nodes / 2))
  network.heal()
  const healed = await passUntil(sim, () => agrees(sim, 'n3') && agrees(sim, 'n4'))
  await sim.stopAll()
  return { together, killed, silent, cutOff, alone, healed, change, changeMessages, messages, bytes, heapKib }
}

function heapBytes(): number {
  global.gc?.()
  return process.memoryUsage().heapUsed
}

/** A mesh whose first and last node see all: looking at every pair would cost more than the mesh does. */
async function formed(nodes: number, seed: number): Promise<{ sim: SimMesh; together: number }> {
  const sim = new SimMesh({ seed, nodes })
  for (const { name } of sim.nodes) await sim.start(name)
  const together = await passUntil(sim, () => agrees(sim, 'n1') && agrees(sim, `n${nodes}`))
  await sim.clock.advance(10_000)
  return { sim, together }
}

/** Whether a node takes all who run for alive. */
function agrees(sim: SimMesh, name: string): boolean {
  const alive =
    sim
      .node(name)
      .mesh?.members()
      .filter(({ status }) => status === 'alive') ?? []
  return alive.length === sim.running().length
}

function untilDead(sim: SimMesh, victim: string, except: readonly string[]): Promise<number> {
  const rest = sim.running().filter(({ name }) => !except.includes(name))
  return passUntil(sim, () => rest.every(({ name }) => sim.statusOf(name, victim) === 'dead'))
}

async function passUntil(sim: SimMesh, holds: () => boolean, stepMs = 20): Promise<number> {
  const startedAtMs = sim.clock.nowMs()
  while (!holds()) {
    if (sim.clock.nowMs() - startedAtMs > ALONE_LIMIT_MS) throw new Error('not within five minutes')
    await sim.clock.advance(stepMs)
  }
  return sim.clock.nowMs() - startedAtMs
}
