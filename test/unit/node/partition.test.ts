import fc from 'fast-check'
import t from 'tap'
import { type Memory, remember, type Sighting } from '../../../src/node/partition/memory.ts'
import { judge, type Situation, type Subject } from '../../../src/node/partition/judge.ts'
import { type KnownNode, sideOf } from '../../../src/node/partition/side.ts'
import { type Mate, moved, tenureOf, type TenureView } from '../../../src/node/partition/tenure.ts'

const node = (name: string, missingSinceMs?: number, counts = true): KnownNode => ({
  nodeId: `id of ${name}`,
  name,
  missingSinceMs,
  counts,
})

t.test('fewer than half of the nodes are the smaller side, from the moment they were fewer', async (t) => {
  const all = sideOf([node('a'), node('b'), node('c')])
  t.same(all, { known: 3, present: 3, missing: [], smallerSinceMs: undefined })
  t.equal(sideOf([node('a'), node('b', 5), node('c')]).smallerSinceMs, undefined, 'two of three go on')
  t.same(sideOf([node('a'), node('b', 5), node('c', 9)]), {
    known: 3,
    present: 1,
    missing: ['b', 'c'],
    smallerSinceMs: 9,
  })
  t.equal(sideOf([node('a')]).smallerSinceMs, undefined, 'a node that never met another is the whole mesh')
})

t.test('of two equal sides the one with the first name goes on', async (t) => {
  t.equal(sideOf([node('a'), node('b', 5)]).smallerSinceMs, undefined)
  t.equal(sideOf([node('a', 5), node('b')]).smallerSinceMs, 5)
  t.equal(sideOf([node('b'), node('c'), node('a', 5), node('d', 7)]).smallerSinceMs, 7)
})

t.test('who left, was removed, or was set up anew under the same name is no missing part', async (t) => {
  t.equal(sideOf([node('b'), node('a', 5, false)]).smallerSinceMs, undefined)
  const renewed = { ...node('a', 5), nodeId: 'the host before it was set up anew' }
  t.same(sideOf([node('a'), renewed, node('b')]).missing, [])
})

t.test('both sides of any cut come to opposite answers', async () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 9 })
  fc.assert(
    fc.property(names, fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }), (all, here) => {
      const left = all.filter((_, index) => here[index])
      const right = all.filter((_, index) => here[index] !== true)
      if (left.length === 0 || right.length === 0) return true
      const seenFrom = (present: readonly string[]): boolean =>
        sideOf(all.map((name) => node(name, present.includes(name) ? undefined : 1))).smallerSinceMs !== undefined
      return seenFrom(left) !== seenFrom(right)
    }),
  )
})

const mate = (name: string, changes: Partial<Mate> = {}): Mate => ({
  nodeId: `id of ${name}`,
  name,
  stand: 'idle',
  term: 0,
  hasProcess: false,
  missingForMs: undefined,
  ...changes,
})

const view = (changes: Partial<TenureView> = {}): TenureView => ({
  self: { nodeId: 'id of b', name: 'b' },
  own: { stand: 'idle', term: 0 },
  wanted: true,
  hasProcess: false,
  mates: [],
  replaceAfterMs: 30_000,
  order: [],
  settlesInMs: 0,
  mayRun: true,
  ...changes,
})

const decided = (changes: Partial<TenureView>): string => {
  const { own, held } = tenureOf(view(changes))
  return `${own.stand}${held === undefined ? '' : `: ${held}`}`
}

// biome-ignore format: a table reads by row
const CASES: readonly (readonly [name: string, changes: Partial<TenureView>, outcome: string])[] = [
  ['a node alone has it', {}, 'holds'],
  ['a node that has just begun asks first', { settlesInMs: 5_000 }, 'idle: asks the other nodes who runs it'],
  ['of several that would, the first in order does', { mates: [mate('a')] }, 'idle: is left to a, which comes first'],
  ['order goes before names', { mates: [mate('a')], order: ['b'] }, 'holds'],
  ['whoever has it keeps it', { mates: [mate('c', { stand: 'holds' })] }, 'idle: runs on c'],
  ['a person stopped it where it was', { mates: [mate('c', { stand: 'stopped' })] }, 'idle: was stopped on c, which has it'],
  ['a missing one is waited for', { mates: [mate('c', { stand: 'holds', missingForMs: 29_000 })] }, 'idle: ran on c, which is missing; it is replaced after 30s'],
  ['a missing one is replaced', { mates: [mate('c', { stand: 'holds', missingForMs: 30_000 })] }, 'holds'],
  ['one that was stopped before it went is not', { mates: [mate('c', { stand: 'stopped', missingForMs: 99_000 })] }, 'idle: was stopped on c, which is missing'],
  ['the first in order replaces', { mates: [mate('c', { stand: 'holds', missingForMs: 30_000 }), mate('a')] }, 'idle: is left to a, which comes first'],
  ['one that does not want it is passed over', { mates: [mate('a', { stand: 'out' })] }, 'holds'],
  ['the last that had it counts', { mates: [mate('a', { stand: 'holds', missingForMs: 99_000 }), mate('c', { stand: 'holds', missingForMs: 1_000 })] }, 'idle: ran on c, which is missing; it is replaced after 30s'],
  ['a returning one is asked first', { mates: [mate('c', { stand: 'returning' })] }, 'idle: is left to c, which comes first'],
  ['it was not to run on this side', { mayRun: false, mates: [mate('c', { stand: 'holds', missingForMs: 99_000 })] }, 'idle: must not run on this side'],
  ['what is not wanted is out', { wanted: false }, 'out'],
  ['a holder that is stopped by a person still has it', { own: { stand: 'holds', term: 0 }, wanted: false }, 'stopped'],
  ['two have it: the first in order keeps it', { own: { stand: 'holds', term: 0 }, hasProcess: true, mates: [mate('a', { stand: 'holds' })] }, 'idle: runs on a: it comes first there'],
  ['two have it: the other gives way', { own: { stand: 'holds', term: 0 }, hasProcess: true, mates: [mate('c', { stand: 'holds', hasProcess: true })] }, 'holds'],
  ['two have it: the one that a person moved it to keeps it', { own: { stand: 'holds', term: 1 }, mates: [mate('a', { stand: 'holds' })] }, 'holds'],
  ['it has given way, and its process is still ending when the other is only just back', { hasProcess: true, settlesInMs: 1, mates: [mate('a', { stand: 'holds' })] }, 'idle: runs on a'],
  ['it begins when the other has let go', { own: { stand: 'holds', term: 1 }, mates: [mate('a', { hasProcess: true })] }, 'holds: waits until a has stopped it'],
  ['back, and it runs elsewhere', { own: { stand: 'returning', term: 0 }, mates: [mate('c', { stand: 'holds' })] }, 'idle: runs on c'],
  ['back, and nobody has it', { own: { stand: 'returning', term: 0 }, mates: [mate('a')] }, 'holds'],
  ['back with its process, before others are heard', { own: { stand: 'returning', term: 0 }, hasProcess: true, settlesInMs: 1 }, 'returning'],
  ['back with its process, and it runs on one that comes later', { own: { stand: 'returning', term: 0 }, hasProcess: true, mates: [mate('c', { stand: 'holds' })] }, 'holds'],
  ['back with its process, and it runs on one that comes first', { own: { stand: 'returning', term: 0 }, hasProcess: true, mates: [mate('a', { stand: 'holds' })] }, 'idle: runs on a: it comes first there'],
  ['all were gone: who had it last is waited for', { own: { stand: 'returning', term: 0 }, mates: [mate('c', { stand: 'holds', missingForMs: 1 })] }, 'returning: ran on c, which is missing; it is replaced after 30s'],
]

for (const [name, changes, outcome] of CASES) {
  t.test(name, async (t) => t.equal(decided(changes), outcome))
}

t.test('a person moves it with a higher term, and not when it is there already', async (t) => {
  t.same(moved({ own: { stand: 'idle', term: 0 }, mates: [mate('a', { stand: 'holds', term: 3 })] }), {
    stand: 'holds',
    term: 4,
  })
  t.same(moved({ own: { stand: 'holds', term: 4 }, mates: [mate('a', { term: 3 })] }), { stand: 'holds', term: 4 })
})

t.test('of nodes that all see each other exactly one runs it in the end, however they stood', async () => {
  const stand = fc.constantFrom('out', 'idle', 'returning', 'holds', 'stopped' as const)
  const start = fc.record({ stand, term: fc.nat(2), hasProcess: fc.boolean() })
  fc.assert(
    fc.property(fc.array(start, { minLength: 1, maxLength: 5 }), (starts) => {
      let nodes = starts.map((each, index) => mate(`n${index}`, each as Partial<Mate>))
      const wanted = nodes.map(({ stand }) => stand !== 'out' && stand !== 'stopped')
      for (let round = 0; round < 8; round += 1) {
        nodes = nodes.map((self, index) => {
          const { own, held } = tenureOf(
            view({
              self,
              own: self,
              hasProcess: self.hasProcess,
              wanted: wanted[index] === true,
              mates: nodes.filter((each) => each !== self),
            }),
          )
          return { ...self, ...own, hasProcess: held === undefined && own.stand === 'holds' }
        })
      }
      const running = nodes.filter(({ hasProcess }) => hasProcess).length
      const isStopped = nodes.some(({ stand }) => stand === 'stopped')
      return isStopped ? running <= 1 : running === (wanted.some(Boolean) ? 1 : 0)
    }),
  )
})

const sighting = (name: string, presence: Sighting['presence'] = 'present'): Sighting => ({
  nodeId: `id of ${name}`,
  name,
  presence,
  says: presence === 'present' ? new Map() : undefined,
})

t.test('who was met and is not seen is missing, until it is forgotten or removed', async (t) => {
  const none: Memory = { nodes: new Map(), mates: new Map() }
  const met = remember(none, [sighting('a'), sighting('b')], 10)
  const cut = remember(met, [sighting('a', 'missing')], 20)
  t.same(
    [...cut.nodes.values()].map(({ name, missingSinceMs }) => [name, missingSinceMs]),
    [
      ['a', 20],
      ['b', 20],
    ],
  )
  t.equal(remember(cut, [], 50).nodes.get('id of a')?.missingSinceMs, 20)
  t.equal(remember(cut, [sighting('a', 'gone')], 50).nodes.get('id of a')?.counts, false)
  t.equal(remember(cut, [sighting('a')], 50).nodes.get('id of a')?.missingSinceMs, undefined)
  t.equal(remember(cut, [], 31 * 86_400_000).nodes.size, 0)
  t.equal(remember(none, [sighting('a', 'missing')], 10).nodes.size, 0, 'one that was never met is no loss')
})

t.test(
  'what a node said of a unit is remembered while it is away, and forgotten when it says so no more',
  async (t) => {
    const none: Memory = { nodes: new Map(), mates: new Map() }
    const says = new Map([['db', { stand: 'holds', term: 1, hasProcess: true } as const]])
    const met = remember(none, [{ ...sighting('a'), says }], 10)
    t.equal(met.mates.get('db')?.get('id of a')?.stand, 'holds')
    const cut = remember(met, [sighting('a', 'missing')], 20)
    t.equal(cut.mates.get('db')?.get('id of a')?.stand, 'holds')
    const back = remember(cut, [{ ...sighting('a'), says: undefined }], 30)
    t.equal(back.mates.get('db')?.get('id of a')?.stand, 'holds', 'nothing was heard of it yet')
    t.equal(remember(back, [sighting('a')], 40).mates.size, 0)
  },
)

const situation = (changes: Partial<Situation> = {}): Situation => ({
  nowMs: 100_000,
  beganMs: 0,
  self: { nodeId: 'id of c', name: 'c' },
  memory: {
    nodes: new Map(['a', 'b'].map((name) => [`id of ${name}`, node(name, 60_000)])),
    mates: new Map(),
  },
  sightings: [],
  ...changes,
})

const subject = (changes: Partial<Subject> = {}): Subject => ({
  unit: 'db',
  policy: { stop_after: 30_000, order: [] },
  wanted: true,
  hasProcess: true,
  own: undefined,
  isOverruled: false,
  ...changes,
})

t.test('a unit with stop_after is held back on the smaller side when that time is over', async (t) => {
  const early = judge(subject(), situation({ nowMs: 70_000 }))
  t.match(early, { held: undefined, againInMs: 20_000, isCut: true })
  const late = judge(subject(), situation())
  t.equal(late.held, 'on the smaller side of a partition: 1 of 3 nodes, without a, b')
  t.same(late.details, { known: '3', present: '1', missing: 'a, b' })
  t.equal(judge(subject({ isOverruled: true }), situation()).held, undefined, 'a person has the last word')
})

t.test('with both, a unit is replaced on the larger side only', async (t) => {
  const policy = { stop_after: 10_000, replace_after: 20_000, order: [] }
  const own = { stand: 'idle', term: 0 } as const
  const here = subject({ policy, own, hasProcess: false })
  const mates = new Map([['db', new Map([['id of a', { stand: 'holds', term: 0, hasProcess: false } as const]])]])
  const small = situation({ memory: { ...situation().memory, mates } })
  t.match(judge(here, small), { held: /smaller side/, tenure: { stand: 'idle' } })
  const nodes = new Map([node('a', 60_000), node('b')].map((each) => [each.nodeId, each]))
  const large = situation({ memory: { nodes, mates }, sightings: [sighting('b')] })
  t.match(judge(here, large), {
    held: undefined,
    tenure: { stand: 'holds' },
    reason: 'takes over from a, which is missing',
  })
  const holder = subject({ policy, own: { stand: 'holds', term: 0 } })
  const early = judge(here, { ...small, nowMs: 65_000 })
  t.match(early, { held: /smaller side/ }, 'what does not run is not begun on the smaller side')
  t.equal(judge({ ...holder, hasProcess: true }, { ...small, nowMs: 65_000 }).held, undefined, 'what runs has its time')
  t.match(judge(holder, small), { held: /smaller side/, tenure: { stand: 'returning' } })
})

t.test('a node named first that was never met is waited for as one that is missing', async (t) => {
  const policy = { replace_after: 30_000, order: ['x', 'c'] }
  const here = subject({ policy, own: { stand: 'idle', term: 0 }, hasProcess: false })
  const alone = { memory: { nodes: new Map(), mates: new Map() } }
  t.match(judge(here, situation({ ...alone, nowMs: 10_000 })), { held: /ran on x/, againInMs: 20_000 })
  t.equal(judge(here, situation({ ...alone, nowMs: 30_000 })).held, undefined)
})
