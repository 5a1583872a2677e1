import t from 'tap'
import { sample } from '../../src/base/random.ts'
import { EMPTY_BATCH, encodeRequest } from '../../src/mesh/gossip/codec.ts'
import { seeded } from '../../src/sim/seeded.ts'
import type { Section } from '../../src/mesh/member.ts'
import { signSection } from '../../src/mesh/registry/signed-section.ts'
import { registration, SimMesh } from '../support/sim-mesh.ts'

const ALL = ['n1', 'n2', 'n3', 'n4', 'n5']

/** `HSU_SEED=7` replays one run; `HSU_SEEDS=1000` tries that many. */
const only = process.env['HSU_SEED']
const count = Number(process.env['HSU_SEEDS'] ?? 20)
const SEEDS = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)]

/** Runs a scenario with each seed; a failure says which seed, and how to see it again. */
async function withSeeds(seeds: readonly number[], scenario: (seed: number) => Promise<void>): Promise<void> {
  for (const seed of seeds) {
    await scenario(seed).catch((cause: unknown) => {
      const replay = `HSU_SEED=${seed} node scripts/run-test.mjs test/sim/mesh.test.ts`
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}\nreplay: ${replay}`, {
        cause,
      })
    })
  }
}

const others = (name: string): string[] => ALL.filter((other) => other !== name)

t.test('five nodes find each other and agree', (t) =>
  withSeeds(SEEDS, async (seed) => {
    const sim = await SimMesh.formed({ seed })
    t.same(sim.unitsOf('n1', 'n5'), ['unit-of-n5'])
    await sim.stopAll()
    t.equal(sim.clock.sleeping, 0, `seed ${seed}: nothing is left behind`)
  }),
)

t.test('a partition with 10 % loss: each side drops the other, goes on, and both agree again after it heals', (t) =>
  withSeeds(SEEDS, async (seed) => {
    // With even seeds the connections outlive the partition, with odd ones they are given up and made anew.
    const sim = await SimMesh.formed({ seed, brokenAfterMs: seed % 2 === 0 ? 60_000 : 4_000 })
    const random = seeded(seed)
    sim.network.loss = 0.1
    const minority = sample(ALL, 1 + (seed % 2), random)
    const majority = ALL.filter((name) => !minority.includes(name))
    const isCut = (one: string, other: string): boolean => minority.includes(one) !== minority.includes(other)
    const apart = (): boolean =>
      ALL.every((one) => ALL.every((other) => !isCut(one, other) || sim.statusOf(one, other) === 'dead'))
    sim.network.partition(sim.idOf(minority))
    await sim.until('each side has dropped the other', apart, 15_000)
    for (const name of ALL) sim.node(name).mesh?.publish([registration(`during-partition-${name}`)])
    await sim.pass(2_000)
    const [one = '', other = ''] = majority
    const goesOn = (): boolean => sim.unitsOf(one, other)?.[0] === `during-partition-${other}`
    await sim.until('the majority goes on among itself', goesOn, 10_000)
    sim.network.heal()
    // A message of a sync that is lost costs its timeout of 2 s, and several may be.
    await sim.until('views agree after the heal', () => sim.isConverged(), 30_000)
    t.same(sim.unitsOf(minority[0] ?? '', one), [`during-partition-${one}`], `seed ${seed}: what was missed is there`)
    await sim.stopAll()
  }),
)

t.test(
  'a section that its owner did not write is gone everywhere once the owner sees it, and publishing works on',
  (t) =>
    withSeeds(SEEDS.slice(0, 5), async (seed) => {
      const sim = await SimMesh.formed({ seed })
      // Signed all the same, as by another node with its identity.
      const { nodeId: owner, identity } = sim.node('n1')
      const ghost = { owner, incarnation: 1, version: 50, registrations: [registration('ghost')] }
      const sections = [signSection(identity, ghost)]
      const request = encodeRequest({ kind: 'exchange', batch: { ...EMPTY_BATCH, sections }, wanted: [] })
      const given = sim.node('n2').transport?.request(sim.node('n3').nodeId, request, new AbortController().signal)
      await sim.run(given ?? Promise.reject(new Error('n2 is down')))
      t.same(sim.unitsOf('n3', 'n1'), ['ghost'])
      await sim.until('views agree', () => sim.isConverged(), 10_000)
      sim.node('n1').mesh?.publish([registration('next')])
      await sim.until('views agree on what comes next', () => sim.isConverged(), 1_000)
      t.same(sim.unitsOf('n3', 'n1'), ['next'])
      await sim.stopAll()
    }),
)

t.test('a forged, an altered, an unsigned and an old section change nothing, and are reported once', async (t) => {
  const sim = await SimMesh.formed({ seed: 1 })
  const [n1, n2] = [sim.node('n1'), sim.node('n2')]
  const old = n1.mesh?.registrations().get(n1.nodeId) ?? []
  const first = signSection(n1.identity, { owner: n1.nodeId, incarnation: 1, version: 1, registrations: old })
  const ghost = { owner: n1.nodeId, incarnation: 1, version: 50, registrations: [registration('ghost')] }
  const forged = signSection(n2.identity, ghost)
  const genuine = signSection(n1.identity, { ...ghost, version: 49 })
  const altered = {
    ...forged,
    signed: { bytes: forged.signed?.bytes ?? Buffer.of(), signature: genuine.signed?.signature ?? Buffer.of() },
  }
  const give = async (section: Section): Promise<void> => {
    const request = encodeRequest({ kind: 'exchange', batch: { ...EMPTY_BATCH, sections: [section] }, wanted: [] })
    const given = n2.transport?.request(sim.node('n3').nodeId, request, new AbortController().signal)
    await sim.run(given ?? Promise.reject(new Error('n2 is down')))
    t.same(sim.unitsOf('n3', 'n1'), ['unit-of-n1'])
  }
  for (const section of [ghost, forged, altered, ghost, forged, altered]) await give(section)
  const refused = sim.node('n3').events.filter(({ type }) => type === 'mesh.refused')
  t.match(refused, [{ cause: n2.nodeId, reason: 'section is not signed by its owner' }])
  t.equal(refused.length, 1)
  n1.mesh?.publish([registration('next')])
  await sim.until('all know what is next', () => sim.isConverged(), 1_000)
  const replay = encodeRequest({ kind: 'exchange', batch: { ...EMPTY_BATCH, sections: [first] }, wanted: [] })
  await sim.run(
    n2.transport?.request(sim.node('n3').nodeId, replay, new AbortController().signal) ??
      Promise.reject(new Error('n2 is down')),
  )
  t.same(sim.unitsOf('n3', 'n1'), ['next'], 'what was signed before is played again in vain')
  await sim.stopAll()
})

t.test('a healed partition makes nobody die who was well', (t) =>
  withSeeds(SEEDS, async (seed) => {
    const sim = await SimMesh.formed({ seed })
    sim.network.partition(sim.idOf(['n1']))
    await sim.pass(6_000)
    const healedAtMs = sim.clock.nowMs()
    sim.network.heal()
    await sim.until('views agree after the heal', () => sim.isConverged(), 10_000)
    const deaths = sim.nodes.flatMap(({ name, events }) =>
      events
        .filter(({ type, atMs }) => type === 'member.dead' && atMs >= healedAtMs)
        .map((event) => `${event.name} at ${name}, ${event.atMs - healedAtMs} ms after`),
    )
    // The lone node may finish a suspicion that it began during the partition; the four must not lose each other.
    t.same(
      deaths.filter((death) => !death.includes(' at n1,')),
      [],
      `seed ${seed}`,
    )
    await sim.stopAll()
  }),
)

t.test('a killed node is gone everywhere within 200 ms, and back with a higher incarnation', (t) =>
  withSeeds(SEEDS, async (seed) => {
    for (const nodes of [2, 3, 5]) {
      const sim = await SimMesh.formed({ seed, nodes })
      const names = ALL.slice(0, nodes)
      const victim = names[seed % nodes] ?? 'n1'
      const rest = names.filter((name) => name !== victim)
      await sim.pass(1_000 + seed * 17)
      const before = sim.node(victim).mesh?.members()[0]?.incarnation ?? 0
      await sim.crash(victim)
      const tookMs = await sim.until(
        'it is dead',
        () => rest.every((name) => sim.statusOf(name, victim) === 'dead'),
        5_000,
      )
      t.ok(tookMs <= 200, `seed ${seed}, ${nodes} nodes: ${tookMs} ms`)
      t.ok(rest.every((name) => sim.unitsOf(name, victim) === undefined))
      await sim.start(victim)
      await sim.until('it is back', () => sim.isConverged(), 3_000)
      t.ok((sim.node(victim).mesh?.members()[0]?.incarnation ?? 0) > before)
      await sim.stopAll()
    }
  }),
)

t.test('a frozen node is gone everywhere within 2 s, and outbids that when it thaws', (t) =>
  withSeeds(SEEDS, async (seed) => {
    for (const nodes of [2, 5]) {
      const sim = await SimMesh.formed({ seed, nodes })
      const rest = ALL.slice(1, nodes)
      await sim.pass(1_000 + seed * 29)
      sim.network.freeze(sim.node('n1').nodeId)
      const dead = (): boolean => rest.every((name) => sim.statusOf(name, 'n1') === 'dead')
      const tookMs = await sim.until('it is dead', dead, 10_000)
      t.ok(tookMs <= 2_000, `seed ${seed}, ${nodes} nodes: ${tookMs} ms`)
      sim.network.thaw(sim.node('n1').nodeId)
      await sim.until('it is back', () => sim.isConverged(), 5_000)
      const blamed = sim.node('n1').events.filter(({ type }) => type === 'member.dead')
      t.same(blamed, [], `seed ${seed}: the node that slept blames nobody`)
      await sim.stopAll()
    }
  }),
)

t.test('a change of the registry is everywhere at once, and repaired by sync when broadcasts are lost', (t) =>
  withSeeds(SEEDS, async (seed) => {
    const sim = await SimMesh.formed({ seed })
    const publish = (unit: string): void => sim.node('n2').mesh?.publish([registration(unit)])
    const known = (unit: string) => (): boolean => ALL.every((name) => sim.unitsOf(name, 'n2')?.[0] === unit)
    publish('first')
    t.ok((await sim.until('all know', known('first'), 2_000)) <= 50, `seed ${seed}`)
    sim.network.loss = 1
    publish('second')
    await sim.clock.advance(0)
    sim.network.loss = 0
    await sim.until('all know though the broadcast was lost', known('second'), 15_000)
    await sim.stopAll()
  }),
)

t.test('a certificate that is replaced is known to all within a few seconds, the one before with it', async (t) => {
  const sim = await SimMesh.formed({ seed: 1 })
  const n1 = sim.node('n1')
  const [first = '', second = ''] = ['ab', 'cd'].map((two) => two.repeat(32))
  for (const shown of [[first, second], [second, first], [second]]) {
    n1.linkFingerprints = shown
    const known = (name: string): string[] => {
      const record = sim
        .node(name)
        .mesh?.members()
        .find(({ nodeId }) => nodeId === n1.nodeId)?.record
      return [record?.linkFingerprint ?? '', ...(record?.furtherLinkFingerprints ?? [])]
    }
    const allKnow = (): boolean => ALL.every((name) => known(name).join() === shown.join())
    t.ok((await sim.until('all know', allKnow, 5_000)) <= 3_000)
  }
  await sim.stopAll()
})

t.test('whoever leaves politely is gone at once, and its restart is welcome', (t) =>
  withSeeds(SEEDS, async (seed) => {
    const sim = await SimMesh.formed({ seed })
    const leaver = ALL[seed % 5] ?? 'n1'
    await sim.stop(leaver)
    const tookMs = await sim.until(
      'all know that it left',
      () => others(leaver).every((name) => sim.statusOf(name, leaver) === 'left'),
      1_000,
    )
    t.ok(tookMs <= 20, `seed ${seed}: ${tookMs} ms`)
    t.ok(others(leaver).every((name) => sim.unitsOf(name, leaver) === undefined))
    await sim.start(leaver)
    await sim.until('it is back', () => sim.isConverged(), 3_000)
    await sim.stopAll()
  }),
)

t.test(
  'flushed resolves when all who are present hold the section, and gives up on one that does not answer',
  async (t) => {
    const sim = await SimMesh.formed({ seed: 1 })
    const mesh = sim.node('n1').mesh
    mesh?.publish([])
    sim.network.loss = 0.1
    await sim.run(mesh?.flushed(5_000) ?? Promise.resolve())
    t.same(
      others('n1').map((name) => sim.unitsOf(name, 'n1')),
      [[], [], [], []],
    )
    sim.network.loss = 0
    sim.network.freeze(sim.node('n3').nodeId)
    const startedAtMs = sim.clock.nowMs()
    mesh?.publish([registration('next')])
    await sim.run(mesh?.flushed(300) ?? Promise.resolve())
    t.equal(sim.clock.nowMs() - startedAtMs, 300)
    sim.network.thaw(sim.node('n3').nodeId)
    await sim.stopAll()
  },
)

t.test('32 nodes that start at once see each other within 5 s', async (t) => {
  const sim = new SimMesh({ seed: 3, nodes: 32 })
  for (const { name } of sim.nodes) await sim.start(name)
  const tookMs = await sim.until('all see each other', () => sim.isConverged(), 5_000)
  t.comment(`${tookMs} ms, ${sim.network.sent} messages`)
})

t.test('10 % loss for 10 minutes kills nobody', (t) =>
  withSeeds(only === undefined ? [1, 2] : SEEDS, async (seed) => {
    const sim = await SimMesh.formed({ seed })
    sim.network.loss = 0.1
    await sim.clock.advance(600_000)
    const deaths = sim.nodes.flatMap(({ name, events }) =>
      events.filter(({ type }) => type === 'member.dead').map((event) => `${event.name} at ${name}, ${event.atMs} ms`),
    )
    t.same(deaths, [], `seed ${seed}`)
    sim.network.loss = 0
    await sim.until('views agree', () => sim.isConverged(), 5_000)
    await sim.stopAll()
  }),
)
