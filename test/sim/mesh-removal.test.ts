import t from 'tap'
import { EMPTY_BATCH, encodeBroadcast } from '../../src/mesh/gossip/codec.ts'
import { signRuling } from '../../src/mesh/rulings/ruling.ts'
import { registration, SimMesh } from '../support/sim-mesh.ts'
import { throwsReason } from '../support/throws-reason.ts'

const SEEDS = [1, 2, 3, 4, 5]
const REST = ['n1', 'n2', 'n3', 'n4']
const ANNA = 'anna from the command line'

/** Whether `by` is asked to keep `subject` out; simulated time passes meanwhile. */
async function remove(sim: SimMesh, by: string, subject: string): Promise<void> {
  const { nodeId } = sim.node(subject)
  await sim.run(sim.node(by).mesh?.remove(nodeId, ANNA) ?? Promise.reject(new Error(`${by} is down`)))
}

async function restore(sim: SimMesh, by: string, subject: string): Promise<void> {
  const { nodeId } = sim.node(subject)
  await sim.run(sim.node(by).mesh?.restore(nodeId, ANNA) ?? Promise.reject(new Error(`${by} is down`)))
}

/** Every one of `observers` keeps `subject` out and serves nothing of it. */
const isOutFor = (sim: SimMesh, observers: readonly string[], subject: string) => (): boolean =>
  observers.every(
    (name) =>
      sim.statusOf(name, subject) === 'removed' &&
      sim.unitsOf(name, subject) === undefined &&
      !(sim.node(name).transport?.connected() ?? []).includes(sim.node(subject).nodeId),
  )

t.test(
  'a removed node is out everywhere at once, stays out over restarts of all, and comes back when restored',
  async (t) => {
    for (const seed of SEEDS) {
      const sim = await SimMesh.formed({ seed })
      await remove(sim, 'n1', 'n5')
      const tookMs = await sim.until('n5 is out', isOutFor(sim, REST, 'n5'), 1_000)
      t.ok(tookMs <= 20, `seed ${seed}: ${tookMs} ms`)
      t.ok(sim.node('n5').log.entries.some(({ message }) => message.startsWith('this node was removed from the mesh')))
      await sim.pass(5_000)
      t.ok(isOutFor(sim, REST, 'n5')(), 'although it goes on trying')
      t.ok(REST.every((one) => REST.every((other) => sim.statusOf(one, other) === 'alive')))

      for (const name of [...REST, 'n5']) await sim.crash(name)
      for (const name of ['n5', ...REST]) await sim.start(name)
      await sim.until(
        'the rest meet',
        () => isOutFor(sim, REST, 'n5')() && sim.unitsOf('n1', 'n4') !== undefined,
        5_000,
      )
      await sim.pass(3_000)
      t.ok(isOutFor(sim, REST, 'n5')(), 'after all of them started anew')

      await restore(sim, 'n3', 'n5')
      await sim.until('n5 is a member again', () => sim.isConverged(), 15_000)
      t.equal(sim.statusOf('n2', 'n5'), 'alive')
      await sim.stopAll()
    }
  },
)

t.test('who was away when a node was removed keeps it out from the moment it meets somebody who knows', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed })
    await sim.crash('n2')
    await remove(sim, 'n1', 'n5')
    await sim.until('n5 is out', isOutFor(sim, ['n1', 'n3', 'n4'], 'n5'), 1_000)
    await sim.start('n2')
    await sim.until('n2 knows', isOutFor(sim, REST, 'n5'), 10_000)
    t.pass(`seed ${seed}`)
    await sim.stopAll()
  }
})

t.test('two sides of a partition that rule against each other agree after the heal: removed', async (t) => {
  for (const seed of SEEDS) {
    const sim = await SimMesh.formed({ seed, brokenAfterMs: 3_000 })
    await sim.crash('n5')
    await remove(sim, 'n1', 'n5')
    await sim.until('all know', isOutFor(sim, REST, 'n5'), 1_000)
    sim.network.partition(sim.idOf(['n1', 'n2']))
    await sim.pass(4_000)
    await restore(sim, 'n1', 'n5')
    await restore(sim, 'n3', 'n5')
    await remove(sim, 'n3', 'n5')
    await restore(sim, 'n4', 'n5')
    await remove(sim, 'n4', 'n5')
    sim.network.heal()
    await sim.until('all agree', isOutFor(sim, REST, 'n5'), 15_000)
    t.pass(`seed ${seed}`)
    await sim.stopAll()
  }
})

t.test('a forged, an altered and an old ruling change nothing, and the forged is reported once', async (t) => {
  const sim = await SimMesh.formed({ seed: 1 })
  const [n1, n2, n5] = [sim.node('n1'), sim.node('n2'), sim.node('n5')]
  const facts = {
    number: 1,
    issuedMs: 0,
    actor: 'mallory',
    kind: 'node',
    nodeId: n1.nodeId,
    removed: true,
    name: '',
  } as const
  const genuine = signRuling(n5.identity, { ...facts, issuer: n5.nodeId })
  const say = async (signed: { bytes: Uint8Array; signature: Uint8Array }): Promise<void> => {
    n2.transport?.broadcast(encodeBroadcast({ ...EMPTY_BATCH, rulings: [signed] }))
    await sim.pass(100)
  }
  const inAnothersName = signRuling(n5.identity, { ...facts, issuer: n2.nodeId })
  const altered = Uint8Array.from(genuine.bytes, (byte, index) =>
    index === genuine.bytes.length - 1 ? byte ^ 1 : byte,
  )
  for (const forged of [inAnothersName, { ...genuine, bytes: altered }, { ...genuine, bytes: Uint8Array.of(1, 2) }]) {
    await say(forged)
    await say(forged)
  }
  t.equal(sim.statusOf('n3', 'n1'), 'alive')
  const refused = sim.node('n3').events.filter(({ type }) => type === 'mesh.refused')
  t.equal(refused.length, 1)

  await remove(sim, 'n2', 'n5')
  await restore(sim, 'n2', 'n5')
  await sim.until('all agree', () => sim.isConverged(), 15_000)
  await say(signRuling(n2.identity, { ...facts, nodeId: n5.nodeId, issuer: n2.nodeId }))
  t.equal(sim.statusOf('n3', 'n5'), 'alive', 'a ruling from before is played again in vain')
  await sim.stopAll()
})

t.test('what a removed node registers and says reaches nobody, also through one who has not heard of it', async (t) => {
  const sim = await SimMesh.formed({ seed: 2 })
  // n4 hears nothing of the removal for now.
  sim.network.partition(sim.idOf(['n4', 'n5']))
  await remove(sim, 'n1', 'n5')
  sim.node('n5').mesh?.publish([registration('ghost')])
  await sim.pass(500)
  t.same(sim.unitsOf('n4', 'n5'), ['ghost'])
  sim.network.heal()
  await sim.until('n4 knows too', isOutFor(sim, REST, 'n5'), 10_000)
  t.ok(REST.every((name) => sim.unitsOf(name, 'n5') === undefined))
  await sim.stopAll()
})

t.test('a node cannot remove itself, and restores only what is removed', async (t) => {
  const sim = await SimMesh.formed({ seed: 3, nodes: 2 })
  await throwsReason(t, 'USAGE', () => remove(sim, 'n1', 'n1'))
  await throwsReason(t, 'NODE_NOT_FOUND', () => restore(sim, 'n1', 'n2'))
  await sim.stopAll()
})
