import t from 'tap'
import { SimMesh } from '../../support/sim-mesh.ts'

const AWAY_MS = 8_000

/** Ends a node without a farewell, as one does that goes on in another process. */
async function suspend(sim: SimMesh, name: string, awayMs: number): Promise<void> {
  const node = sim.node(name)
  const { mesh } = node
  await sim.run(mesh?.suspend(awayMs) ?? Promise.resolve())
  node.mesh = undefined
  sim.network.crash(node.nodeId)
}

t.test(
  'a node that says it will be away is missed by nobody, and what it registers stays until it is back',
  async (t) => {
    for (let seed = 1; seed <= 5; seed += 1) {
      const sim = await SimMesh.formed({ seed, nodes: 4 })
      const [before] = sim.node('n1').mesh?.members() ?? []
      const told = sim.running().map(({ events }) => events.length)
      await suspend(sim, 'n1', AWAY_MS)
      let gaps = 0
      const look = (): void => {
        for (const { name } of sim.running()) {
          if (name !== 'n1' && sim.unitsOf(name, 'n1')?.join() !== 'unit-of-n1') gaps += 1
        }
      }
      for (let passedMs = 0; passedMs < AWAY_MS - 2_000; passedMs += 20) {
        await sim.pass(20)
        look()
      }
      const starting = sim.start('n1')
      for (let passedMs = 0; passedMs < 5_000; passedMs += 20) {
        await sim.pass(20)
        look()
      }
      await starting
      await sim.until('all see each other', () => sim.isConverged(), 5_000)
      t.equal(gaps, 0, `seed ${seed}`)
      const events = sim
        .running()
        .flatMap(({ name, events }, index) => (name === 'n1' ? [] : events.slice(told[index])))
      t.same(
        events.filter(({ type }) => type !== 'member.alive').map(({ type }) => type),
        [],
      )
      t.ok((sim.node('n1').mesh?.members()[0]?.incarnation ?? 0) > (before?.incarnation ?? 0))
      await sim.stopAll()
    }
  },
)

t.test('one that does not come back is dead in the end; one that said nothing is so at once', async (t) => {
  for (const awayMs of [AWAY_MS, 0]) {
    const sim = await SimMesh.formed({ seed: 3, nodes: 4 })
    await suspend(sim, 'n1', awayMs)
    const isDead = (): boolean =>
      sim.running().every(({ name }) => name === 'n1' || sim.statusOf(name, 'n1') === 'dead')
    const tookMs = await sim.until('all know', isDead, 30_000)
    t.ok(awayMs === 0 ? tookMs < 5_000 : tookMs >= AWAY_MS - 1_000, `${tookMs} ms`)
    await sim.stopAll()
  }
})

t.test('an absence is believed for a quarter of a minute at most', async (t) => {
  const sim = await SimMesh.formed({ seed: 4, nodes: 3 })
  await suspend(sim, 'n1', 3_600_000)
  await sim.until('all know', () => ['n2', 'n3'].every((name) => sim.statusOf(name, 'n1') === 'dead'), 30_000)
  t.pass('dead')
  await sim.stopAll()
})
