import fc from 'fast-check'
import t from 'tap'
import type { Canary, Endpoint } from '../../../src/rpc/endpoint-source.ts'
import { choosePart, splitOf } from '../../../src/rpc/router/split.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { endpoint } from '../../support/literal-world.ts'

const of = (unit: string, canary?: Partial<Canary>, more: Partial<Endpoint> = {}): Endpoint =>
  endpoint({ unit, instance: `${unit}-0-aaaaaa`, canary: canary && { share: 0, headers: {}, ...canary }, ...more })

const asleep = { ready: false, onCall: { holdMs: 1, starts: true } }

const shown = (...endpoints: Endpoint[]): readonly string[] | undefined =>
  splitOf(endpoints)?.map(({ units, share, headers }) =>
    [units.join('+'), share, ...headers.map((header) => header.join('='))].join(' '),
  )

t.test('canaries by name, then all others', async (t) => {
  const cases: [why: string, wanted: string[] | undefined, ...endpoints: Endpoint[]][] = [
    ['no canary', undefined, of('a'), of('b')],
    ['nothing but canaries', undefined, of('a', { share: 100 }), of('b', { share: 10 })],
    ['a part for it', ['b 1000', 'a 9000'], of('a'), of('b', { share: 1_000 })],
    ['units that are none share the rest', ['b 1000', 'a+c 9000'], of('c'), of('b', { share: 1_000 }), of('a')],
    ['only for those who ask', ['b 0 x-canary=1', 'a 10000'], of('a'), of('b', { headers: { 'x-canary': '1' } })],
    ['one that is not ready has no part', undefined, of('a'), of('b', { share: 1_000 }, { ready: false })],
    ['one that sleeps has', ['b 1000', 'a 9000'], of('a', undefined, asleep), of('b', { share: 1_000 }, asleep)],
    [
      'one that is being restarted has none',
      undefined,
      of('a'),
      of('b', { share: 1_000 }, { ...asleep, onCall: { holdMs: 1, starts: false } }),
    ],
    ['with nothing else left it takes all', undefined, of('a', undefined, { ready: false }), of('b', { share: 1_000 })],
    [
      'more than all is cut',
      ['b 7500', 'c 2500', 'a 0'],
      of('a'),
      of('b', { share: 9_000 }),
      of('c', { share: 3_000 }),
    ],
    ['nodes that disagree', ['b 500', 'a 9500'], of('a'), of('b', { share: 900 }), of('b', { share: 500 })],
  ]
  for (const [why, wanted, ...endpoints] of cases) {
    t.same(shown(...endpoints), wanted, why)
    t.same(shown(...endpoints.toReversed()), wanted, `${why}, in another order`)
  }
})

t.test('a call goes to the canary it asks for, with all that is asked', async (t) => {
  const headers = { 'x-canary': '1', 'x-region': 'eu' }
  const split = splitOf([of('a'), of('b', { headers })]) ?? []
  const to = (metadata: Readonly<Record<string, string>>): string =>
    choosePart(split, (key) => metadata[key], seeded(1)).units.join()
  t.equal(to(headers), 'b')
  t.equal(to({ 'x-canary': '1' }), 'a')
  t.equal(to({ ...headers, 'x-canary': '2' }), 'a')
  t.equal(to({}), 'a')
})

t.test('shares are those of many calls, and always come to all', async (t) => {
  const shares = fc.array(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(shares, fc.integer(), (wanted, seed) => {
      const split = splitOf([of('z'), ...wanted.map((share, at) => of(`c${at}`, { share }))]) ?? []
      const total = split.reduce((sum, { share }) => sum + share, 0)
      const random = seeded(seed)
      const chosen = Array.from({ length: 200 }, () => choosePart(split, () => undefined, random))
      return total === 10_000 && chosen.every(({ share }) => share > 0)
    }),
    { numRuns: 100 },
  )
  t.pass()
})
