// What a mesh costs and how fast it is, by its size, in simulation: `node scripts/scale.mjs [NODES...]` prints a table.
import { SimMesh } from '../test/support/sim-mesh.ts'
import { median } from './table.ts'

const IDLE_MS = 20_000
const RUNS = 3

const sizes = process.argv.slice(2).map(Number)
process.stdout.write(
  '| nodes | killed, gone everywhere | silent, gone everywhere: median | messages/s a node | bytes/s a node | seconds to simulate |\n|---|---|---|---|---|---|\n',
)
for (const nodes of sizes.length > 0 ? sizes : [10, 50, 200]) process.stdout.write(`${await measure(nodes)}\n`)

async function measure(nodes: number): Promise<string> {
  const startedAt = performance.now()
  const killed: number[] = []
  const silent: number[] = []
  const idle: { messages: number; bytes: number }[] = []
  const runs = nodes > 100 ? 1 : RUNS
  for (let seed = 1; seed <= runs; seed += 1) {
    const sim = await formed(nodes, seed)
    const before = { sent: sim.network.sent, bytes: sim.network.sentBytes }
    await sim.clock.advance(IDLE_MS)
    const perNode = nodes * (IDLE_MS / 1_000)
    const { sent, sentBytes } = sim.network
    idle.push({ messages: (sent - before.sent) / perNode, bytes: (sentBytes - before.bytes) / perNode })
    await sim.crash('n1')
    killed.push(await untilDead(sim, 'n1'))
    sim.network.freeze(sim.node('n2').nodeId)
    silent.push(await untilDead(sim, 'n2'))
  }
  const figures = [
    `${median(killed).toFixed(0)} ms`,
    `${median(silent).toFixed(0)} ms`,
    median(idle.map(({ messages }) => messages)).toFixed(1),
    median(idle.map(({ bytes }) => bytes)).toFixed(0),
    ((performance.now() - startedAt) / 1_000).toFixed(0),
  ]
  return `| ${[nodes, ...figures].join(' | ')} |`
}

/** A mesh whose first and last node see all: looking at every pair would cost more than the mesh does. */
async function formed(nodes: number, seed: number): Promise<SimMesh> {
  const sim = new SimMesh({ seed, nodes })
  for (const { name } of sim.nodes) await sim.start(name)
  const seesAll = (name: string): boolean =>
    sim
      .node(name)
      .mesh?.members()
      .filter(({ status }) => status === 'alive').length === nodes
  await passUntil(sim, () => seesAll('n1') && seesAll(`n${nodes}`))
  await sim.clock.advance(10_000)
  return sim
}

function untilDead(sim: SimMesh, victim: string): Promise<number> {
  const rest = sim.running().filter(({ name }) => name !== victim && name !== 'n2')
  return passUntil(sim, () => rest.every(({ name }) => sim.statusOf(name, victim) === 'dead'))
}

async function passUntil(sim: SimMesh, holds: () => boolean): Promise<number> {
  const startedAtMs = sim.clock.nowMs()
  while (!holds()) {
    if (sim.clock.nowMs() - startedAtMs > 60_000) throw new Error('not within a minute')
    await sim.clock.advance(20)
  }
  return sim.clock.nowMs() - startedAtMs
}
