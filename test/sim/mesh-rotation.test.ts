import t from 'tap'
import { meshKeyFingerprint } from '../../src/mesh/keys/mesh-key.ts'
import { FIRST_KEY, SimMesh } from '../support/sim-mesh.ts'
import { throwsReason } from '../support/throws-reason.ts'

const SEEDS = [1, 2, 3, 4, 5]
const ANNA = 'anna from the command line'
const OVERLAP_MS = 60_000
const FIRST = meshKeyFingerprint(FIRST_KEY)

async function rotate(sim: SimMesh, by: string, overlapMs = OVERLAP_MS): Promise<string> {
  const asked = sim.node(by).mesh?.rotateKey(overlapMs, ANNA) ?? Promise.reject(new Error(`${by} is down`))
  return (await sim.run(asked)).fingerprint
}

/** The fingerprints of the keys that a node accepts, newest first. */
const heldBy = (sim: SimMesh, name: string): string[] =>
  sim
    .node(name)
    .mesh?.keys()
    .keys.map(({ fingerprint }) => fingerprint) ?? []

const haveOnly = (sim: SimMesh, names: readonly string[], key: string) => (): boolean =>
  names.every((name) => heldBy(sim, name).join() === key)

const deaths = (sim: SimMesh): string[] =>
  sim.nodes.flatMap(({ name, events }) =>
    events.filter(({ type }) => type === 'member.dead').map((event) => `${event.name} at ${name}`),
  )

t.test('a rotation reaches all, loses nobody, and after the overlap the old key is accepted no more', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed })
    const all = sim.nodes.map(({ name }) => name)
    const key = await rotate(sim, 'n2')
    const both = (): boolean => all.every((name) => heldBy(sim, name).join() === `${key},${FIRST}`)
    const tookMs = await sim.until('all have both keys', both, 5_000)
    t.ok(tookMs < 1_000, `seed ${seed}: ${tookMs} ms`)
    const shown = (): boolean => sim.node('n1').mesh?.keys().others.length === 0
    await sim.until('n1 has seen the proof of all', shown, 5_000)
    await throwsReason(t, 'USAGE', () => rotate(sim, 'n1'))
    await sim.until('the old key is over', haveOnly(sim, all, key), OVERLAP_MS + 10_000)
    await sim.pass(5_000)
    t.same(deaths(sim), [], `seed ${seed}: nobody was lost`)
    t.ok(sim.isConverged())
    // With the key file as it was, what was learnt since counts.
    await sim.crash('n3')
    sim.node('n3').keyFile = [FIRST_KEY]
    await sim.start('n3')
    await sim.until('n3 is back', () => sim.isConverged(), 5_000)
    t.same(heldBy(sim, 'n3'), [key])
    await sim.stopAll()
  }
})

t.test(
  'who was away during a rotation gets the key when it comes back within the overlap, and is out after it',
  async (t) => {
    for (const seed of SEEDS) {
      const sim = await SimMesh.formed({ seed })
      await sim.crash('n4')
      await sim.crash('n5')
      const key = await rotate(sim, 'n1')
      await sim.pass(20_000)
      await sim.start('n4')
      await sim.until('n4 has the new key', () => heldBy(sim, 'n4')[0] === key, 10_000)
      await sim.pass(OVERLAP_MS + 5_000)
      await sim.start('n5')
      await sim.pass(10_000)
      t.equal(sim.unitsOf('n1', 'n5'), undefined, `seed ${seed}`)
      t.same(heldBy(sim, 'n5'), [FIRST])
      await sim.stopAll()
    }
  },
)

t.test(
  'a removed node and one that joins with the old key get no new one, and are out after the overlap',
  async (t) => {
    for (const seed of SEEDS) {
      const sim = new SimMesh({ seed, nodes: 5 })
      for (const name of ['n1', 'n2', 'n3', 'n4']) await sim.start(name)
      await sim.until('four see each other', () => sim.isConverged(), 5_000)
      await sim.run(sim.node('n1').mesh?.remove(sim.node('n4').nodeId, ANNA) ?? Promise.resolve())
      const key = await rotate(sim, 'n1')
      await sim.pass(1_000)
      // A thief who has the old key and makes an identity of his own.
      await sim.start('n5')
      await sim.until('it is in, for the key is still good', () => sim.statusOf('n2', 'n5') === 'alive', 5_000)
      await sim.pass(5_000)
      for (const name of ['n4', 'n5']) t.same(heldBy(sim, name), [FIRST], `seed ${seed}: ${name}`)
      t.same(sim.node('n1').mesh?.keys().others, [sim.node('n5').nodeId])
      await sim.until('the old key is over', haveOnly(sim, ['n1', 'n2', 'n3'], key), OVERLAP_MS + 10_000)
      await sim.until(
        'it is out',
        () => ['n1', 'n2', 'n3'].every((name) => sim.statusOf(name, 'n5') === 'dead'),
        15_000,
      )
      await sim.pass(10_000)
      t.ok(
        ['n1', 'n2', 'n3'].every((name) => sim.statusOf(name, 'n5') === 'dead'),
        'and stays out',
      )
      t.ok(['n1', 'n2', 'n3'].every((one) => sim.statusOf('n1', one) === 'alive'))
      await sim.stopAll()
    }
  },
)

t.test('two rotations at once end with one key', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed })
    sim.network.partition(sim.idOf(['n1', 'n2']))
    const keys = [await rotate(sim, 'n1'), await rotate(sim, 'n3')]
    sim.network.heal()
    const newest = (): Set<string | undefined> => new Set(sim.nodes.map(({ name }) => heldBy(sim, name)[0]))
    await sim.until('one is the newest everywhere', () => newest().size === 1, 15_000)
    t.ok(keys.includes([...newest()][0] ?? ''), `seed ${seed}`)
    await sim.until('all others are over', () => sim.nodes.every(({ name }) => heldBy(sim, name).length === 1), 90_000)
    t.ok(sim.isConverged())
    await sim.stopAll()
  }
})
