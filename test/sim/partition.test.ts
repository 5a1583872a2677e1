import t from 'tap'
import { below } from '../../src/base/random.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { SimSite } from '../support/sim-site.ts'

/** `HSU_SEED=7` replays one; `HSU_SEQUENCES=200` tries that many. */
const only = process.env['HSU_SEED']
const SEEDS =
  only === undefined
    ? Array.from({ length: Number(process.env['HSU_SEQUENCES'] ?? 2) }, (_, index) => index + 1)
    : [Number(only)]

const STOPS = { stop_after: 10_000, order: [] } as const
const MOVES = { replace_after: 20_000, order: ['n2'] } as const
const STRICT = { stop_after: 5_000, replace_after: 10_000, order: ['n1'] } as const
const POLICIES = { kept: 'keep', stops: STOPS, moves: MOVES, strict: STRICT } as const

t.test('a unit that moves runs once, on the first in order, and others wait', async (t) => {
  const site = await SimSite.formed({ seed: 1, nodes: 3 }, POLICIES)
  t.same(site.runningOn('kept'), ['n1', 'n2', 'n3'])
  t.same(site.runningOn('stops'), ['n1', 'n2', 'n3'])
  t.same(site.runningOn('moves'), ['n2'])
  t.same(site.runningOn('strict'), ['n1'])
  t.equal(site.reasonOf('n1', 'moves'), 'held back: runs on n2')
  await site.end()
})

t.test('a cut off host stops and is replaced as its units are meant to, and all agree after the heal', async (t) => {
  const site = await SimSite.formed({ seed: 2, nodes: 3 }, POLICIES)
  site.cut('n1')
  await site.until('the smaller side to stop', () => site.runningOn('stops').join() === 'n2,n3', 20_000)
  t.same(site.runningOn('kept'), ['n1', 'n2', 'n3'], 'what is kept runs on')
  await site.until('the larger side to take over', () => site.runningOn('strict').join() === 'n2', 20_000)
  t.same(site.runningOn('moves'), ['n2'], 'on the larger side nothing changes for what it has')
  t.match(site.reasonOf('n1', 'strict'), /held back: on the smaller side of a partition: 1 of 3 nodes, without n2, n3/)
  await site.until('the smaller side to replace what it may', () => site.runningOn('moves').join() === 'n1,n2', 20_000)

  site.heal()
  await site.until('one of two to give way', () => site.runningOn('moves').join() === 'n2', 15_000)
  await site.until('the stopped to run again', () => site.runningOn('stops').length === 3, 15_000)
  await site.pass(5_000)
  t.same(site.runningOn('strict'), ['n2'], 'whoever has it keeps it')
  t.same(site.runningOn('moves'), ['n2'])
  t.match(
    site.eventsOf('n1', 'moves').join('\n'),
    /released: takes over from n2, which is missing[^]*held: runs on n2: it comes first there/,
  )
  t.notMatch(
    site.eventsOf('n1', 'moves').join('\n'),
    /it comes first there[^]*released/,
    'whoever gave way takes nothing back while its process ends',
  )
  t.match(site.eventsOf('n1', 'stops').join('\n'), /held: on the smaller side[^]*released: the partition is over/)
  t.notMatch(site.eventsOf('n1', 'stops').join('\n'), /failed|backoff/, 'being held back is no failure')
  await site.end()
})

t.test('the smaller side stays operable: what people ask for is done, until the partition is over', async (t) => {
  const site = await SimSite.formed({ seed: 3, nodes: 3 }, POLICIES)
  site.cut('n1')
  await site.until('it to be held back', () => !site.runningOn('stops').includes('n1'), 20_000)
  await site.ask('n1', 'restartUnit', 'stops')
  await site.until('it to run', () => site.runningOn('stops').includes('n1'), 1_000)
  await site.pass(20_000)
  t.ok(site.runningOn('stops').includes('n1'), 'it is not held back again')
  site.heal()
  await site.pass(15_000)
  t.equal(site.runningOn('stops').length, 3)
  site.cut('n1')
  await site.until('it to be held back by the next one', () => !site.runningOn('stops').includes('n1'), 20_000)
  await site.end()
})

t.test('a host that loses its power is replaced once, and finds its unit elsewhere when it is back', async (t) => {
  const site = await SimSite.formed({ seed: 4, nodes: 3 }, POLICIES)
  await site.kill('n2', true)
  await site.until('another host to have it', () => site.runningOn('moves').length === 1, 25_000)
  t.same(site.runningOn('moves'), ['n1'])
  await site.start('n2')
  for (let second = 0; second < 15; second += 1) {
    await site.pass(1_000)
    t.same(site.runningOn('moves'), ['n1'])
  }
  t.equal(site.reasonOf('n2', 'moves'), 'held back: runs on n1')
  await site.ask('n2', 'startUnit', 'moves')
  await site.until('it to be where it is wanted', () => site.runningOn('moves').join() === 'n2', 5_000)
  await site.pass(5_000)
  t.same(site.runningOn('moves'), ['n2'], 'a person moved it')
  await site.end()
})

t.test('a node that is started anew at once keeps what it has', async (t) => {
  const site = await SimSite.formed({ seed: 5, nodes: 3 }, POLICIES)
  const [before] = site.host('n2').host.pidsOf('moves')
  await site.kill('n2', false)
  await site.pass(2_000)
  await site.start('n2')
  await site.pass(15_000)
  t.same(site.runningOn('moves'), ['n2'])
  t.same(site.host('n2').host.pidsOf('moves'), [before], 'it was not even started anew')
  await site.end()
})

t.test('a node that was away for longer, with its unit running on, ends with one of both', async (t) => {
  const site = await SimSite.formed({ seed: 6, nodes: 3 }, POLICIES)
  await site.kill('n1', false)
  await site.until('another to run it', () => site.runningOn('strict').join() === 'n1,n2', 20_000)
  await site.start('n1')
  await site.until('one to give way', () => site.runningOn('strict').length === 1, 10_000)
  await site.pass(10_000)
  t.same(site.runningOn('strict'), ['n1'], 'both had it, and n1 comes first')
  await site.end()
})

t.test('after the whole site lost its power, who had it last has it again', async (t) => {
  const site = await SimSite.formed({ seed: 7, nodes: 3 }, POLICIES)
  await site.ask('n3', 'startUnit', 'moves')
  await site.until('it to be on n3', () => site.runningOn('moves').join() === 'n3', 5_000)
  for (const name of ['n1', 'n2', 'n3']) await site.kill(name, true)
  for (const name of ['n1', 'n2', 'n3']) await site.start(name)
  await site.until('it to run', () => site.runningOn('moves').length > 0, 10_000)
  await site.pass(5_000)
  t.same(site.runningOn('moves'), ['n3'])
  await site.end()
})

t.test(
  'of hosts that see each other one runs it, whatever happened before; with both terms never two do',
  async (t) => {
    for (const seed of SEEDS) {
      const random = seeded(seed)
      const site = await SimSite.formed({ seed: 100 + seed, nodes: 3 }, { moves: MOVES, strict: STRICT })
      const names = site.sim.nodes.map(({ name }) => name)
      const pick = (): string => names[below(names.length, random)] ?? 'n1'
      for (let step = 0; step < 5; step += 1) {
        if (random.next() < 0.6) site.cut(...new Set([pick(), pick()]))
        else site.heal()
        const name = pick()
        if (random.next() < 0.3) {
          await site.kill(name, true)
          await site.pass(below(20_000, random))
          await site.start(name)
        }
        for (let leftMs = below(30_000, random); leftMs > 0; leftMs -= 500) {
          await site.pass(500)
          const strict = site.runningOn('strict')
          if (strict.length > 1) t.fail(`seed ${seed}: strict runs on ${strict.join(' and ')}`)
        }
      }
      site.heal()
      await site.pass(35_000)
      t.equal(site.runningOn('moves').length, 1, `seed ${seed}: moves runs on ${site.runningOn('moves').join(' and ')}`)
      t.equal(
        site.runningOn('strict').length,
        1,
        `seed ${seed}: strict runs on ${site.runningOn('strict').join(' and ')}`,
      )
      await site.end()
    }
  },
)
