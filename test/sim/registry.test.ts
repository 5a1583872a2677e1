import t from 'tap'
import { EMPTY_BATCH, encodeBroadcast } from '../../src/mesh/gossip/codec.ts'
import { MAX_SECTION_BYTES } from '../../src/mesh/limits.ts'
import type { Registration } from '../../src/mesh/member.ts'
import { registration, SimMesh } from '../support/sim-mesh.ts'

/** `HSU_SEED=7` replays one run. */
const only = process.env['HSU_SEED']
const SEEDS = only === undefined ? [1, 2, 3, 4, 5] : [Number(only)]

const crowd = (of: string, count: number, changes: Partial<Registration> = {}): Registration[] =>
  Array.from({ length: count }, (_, index) => registration(`${of}-${index}`, changes))

t.test('one change of a thousand registrations is a small message, and known everywhere at once', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed })
    const all = crowd('u', 1_000)
    sim.node('n1').mesh?.publish(all)
    await sim.until('all know all', () => sim.isConverged(), 1_000)
    await sim.pass(3_000)
    sim.network.largestBytes = 0
    sim.node('n1').mesh?.publish(all.map((one) => (one.unit === 'u-500' ? { ...one, ready: false } : one)))
    const tookMs = await sim.until('all know the change', () => sim.isConverged(), 1_000)
    t.ok(tookMs <= 50, `seed ${seed}: ${tookMs} ms`)
    t.ok(sim.network.largestBytes < 400, `seed ${seed}: ${sim.network.largestBytes} bytes`)
    t.comment(`${tookMs} ms, ${sim.network.largestBytes} bytes`)
    const flushed = sim.node('n1').mesh?.flushed(1_000)
    await sim.run(flushed ?? Promise.resolve())
    t.ok(sim.network.largestBytes < 400, `seed ${seed}: nor does making certain take more`)
    await sim.stopAll()
  }
})

t.test('changes that follow each other while some are lost lead to the same everywhere', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed })
    let all = crowd('u', 60)
    sim.node('n1').mesh?.publish(all)
    await sim.pass(100)
    sim.network.loss = 0.3
    for (let step = 0; step < 40; step += 1) {
      all = [...all.slice(1), registration(`v-${step}`, { replica: step })]
      sim.node('n1').mesh?.publish(all)
      await sim.pass(20)
    }
    sim.network.loss = 0
    const tookMs = await sim.until('views agree', () => sim.isConverged(), 10_000)
    t.comment(`seed ${seed}: ${tookMs} ms`)
    await sim.stopAll()
  }
})

t.test('a change of another base, or forged, makes a node ask for the whole, which is what it was', async (t) => {
  const sim = await SimMesh.formed({ seed: 1 })
  const [n1, n2, n3] = [sim.node('n1'), sim.node('n2'), sim.node('n3')]
  n1.mesh?.publish(crowd('u', 40))
  await sim.until('all know all', () => sim.isConverged(), 1_000)
  const version = 2
  const forged = {
    ...{ owner: n1.nodeId, incarnation: 1, version: version + 1, baseVersion: version, removed: [0], changed: [] },
    signature: new Uint8Array(64),
  }
  for (const delta of [forged, { ...forged, baseVersion: 1 }, { ...forged, version: 90, baseVersion: 89 }]) {
    n1.transport?.broadcast(encodeBroadcast({ ...EMPTY_BATCH, deltas: [delta] }))
    await sim.pass(500)
    t.ok(sim.isConverged())
  }
  // Of another owner it counts for nothing at all.
  n2.transport?.broadcast(encodeBroadcast({ ...EMPTY_BATCH, deltas: [forged] }))
  await sim.pass(500)
  t.equal(n3.mesh?.registrations().get(n1.nodeId)?.length, 40)
  await sim.stopAll()
})

t.test(
  '2,000 registrations over 50 nodes reach a newcomer and one that was away, in messages of bounded size',
  async (t) => {
    const sim = new SimMesh({ seed: 4, nodes: 51 })
    const names = sim.nodes.map(({ name }) => name)
    const start = async (name: string): Promise<void> => {
      await sim.start(name)
      sim.node(name).mesh?.publish(crowd(name, 40))
    }
    const seesAll = (name: string): boolean => {
      const known = sim.node(name).mesh?.registrations() ?? new Map<string, readonly Registration[]>()
      return [...known.values()].flat().length === sim.running().length * 40
    }
    // Looking at every pair at every step would cost more than the mesh does.
    const untilSeen = async (by: readonly string[], withinMs: number): Promise<void> => {
      const startedAtMs = sim.clock.nowMs()
      while (!by.every(seesAll) && sim.clock.nowMs() - startedAtMs < withinMs) await sim.clock.advance(100)
      t.ok(by.every(seesAll), `${by.length} see all after ${sim.clock.nowMs() - startedAtMs} ms`)
    }
    for (const name of names.slice(0, 50)) await start(name)
    await untilSeen(names.slice(0, 50), 10_000)
    await sim.clock.advance(2_000)
    sim.network.largestBytes = 0
    sim.network.partition([sim.node('n7').nodeId])
    await sim.clock.advance(5_000)
    sim.network.heal()
    await start('n51')
    await untilSeen(['n51', 'n7'], 10_000)
    t.ok(sim.network.largestBytes <= 270 * 1024, `largest message ${sim.network.largestBytes} bytes`)
  },
)

t.test('a node with as much as may be registered is known to all, and told in words when it is more', async (t) => {
  const sim = await SimMesh.formed({ seed: 2, nodes: 3 })
  const mesh = sim.node('n1').mesh
  const most = crowd('u', 4_000)
  mesh?.publish(most)
  await sim.until('all know all', () => sim.isConverged(), 5_000)
  t.throws(() => mesh?.publish([...most, registration('one-more')]), {
    reason: 'LIMIT_EXCEEDED',
    message: '4001 registrations, more than the 4000 that one node may have',
  })
  t.throws(() => mesh?.publish(crowd('u', 2_000, { address: 'x'.repeat(250) })), {
    reason: 'LIMIT_EXCEEDED',
    message: new RegExp(`registrations take \\d+ bytes, more than the ${MAX_SECTION_BYTES} that one node may have`),
  })
  t.ok(sim.isConverged(), 'what was told before stays')
  await sim.stopAll()
})
