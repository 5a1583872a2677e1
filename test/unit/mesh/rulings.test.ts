import fc from 'fast-check'
import t from 'tap'
import { createIdentity } from '../../../src/mesh/identity.ts'
import {
  compareRulings,
  isGenuineRuling,
  parseRuling,
  type SignedRuling,
  signRuling,
} from '../../../src/mesh/rulings/ruling.ts'
import { Rulings } from '../../../src/mesh/rulings/rulings.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { shuffle } from '../../../src/base/random.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimDisk, simStore } from '../../../src/sim/sim-store.ts'

const [one, two, subject] = [createIdentity(), createIdentity(), createIdentity()]

const on = (issuer: typeof one, number: number, removed: boolean, actor = ''): SignedRuling =>
  signRuling(issuer, {
    kind: 'node',
    issuer: issuer.nodeId,
    number,
    issuedMs: 0,
    actor,
    nodeId: subject.nodeId,
    removed,
    name: 'n',
  })

function rulingsOn(disk: Map<string, Uint8Array>) {
  const log = memoryLog()
  const clock = new SimClock()
  return { log, rulings: new Rulings({ clock, log, store: simStore(disk), identity: one }) }
}

t.test('what is made is read back, and holds all it was made of', async (t) => {
  const holders = [one.nodeId, two.nodeId]
  const key = { kind: 'key', fingerprint: 'ab12', overlapMs: 1_000, holders } as const
  for (const ruling of [
    on(one, 1, true).ruling,
    { ...key, issuer: one.nodeId, number: 2, issuedMs: 7, actor: 'anna' },
  ]) {
    const signed = signRuling(one, ruling)
    t.same(parseRuling(signed).ruling, ruling)
    t.ok(isGenuineRuling(parseRuling(signed)))
  }
})

t.test('garbage, and a genuine ruling with a bit turned, is refused and nothing worse', async (t) => {
  const { bytes, signature } = on(one, 3, true)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(bytes.length * 8 - 1), (garbage, bit) => {
      const turned = Uint8Array.from(bytes)
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return [garbage, turned].every((wrong) => {
        try {
          return !isGenuineRuling(parseRuling({ bytes: wrong, signature }))
        } catch (error) {
          return (error as { reason?: string }).reason === 'USAGE'
        }
      })
    }),
    { numRuns: 1_000 },
  )
  t.pass('1,000 of each')
})

t.test('in whatever order and however often rulings come, all nodes end with the same', async (t) => {
  const all = [1, 2, 3].flatMap((number) => [one, two].flatMap((by) => [on(by, number, true), on(by, number, false)]))
  const ends = new Set<string>()
  for (let seed = 1; seed <= 50; seed += 1) {
    const { rulings } = rulingsOn(new Map())
    const random = seeded(seed)
    for (const signed of [...shuffle(all, random), ...shuffle(all, random)]) rulings.take(signed)
    ends.add(Buffer.from(rulings.hash()).toString('hex'))
    t.ok(rulings.isRemoved(subject.nodeId), 'at one number removal counts more')
    await rulings.saved()
  }
  t.equal(ends.size, 1)
  t.equal(compareRulings(on(one, 1, true), on(one, 1, true)), 0)
})

t.test('rulings survive lost power; what was damaged or forged on the disk is reported and left out', async (t) => {
  const disk = new SimDisk()
  const first = rulingsOn(disk).rulings
  await first.issue({ kind: 'node', nodeId: subject.nodeId, removed: true, name: 'n' }, 'anna').saved
  disk.loseThePower('torn')
  const again = rulingsOn(disk)
  await again.rulings.load()
  t.ok(again.rulings.isRemoved(subject.nodeId))
  t.same(again.rulings.hash(), first.hash())

  const forged = { ...on(two, 9, false), signature: on(one, 9, false).signature }
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  const entries = [{ ruling: base64(forged.bytes), signature: base64(forged.signature) }, { ruling: 7 }, null]
  disk.set('mesh/rulings.json', Buffer.from(JSON.stringify({ rulings: entries })))
  const third = rulingsOn(disk)
  await third.rulings.load()
  t.same(third.rulings.all(), [])
  t.equal(third.log.entries.filter(({ level }) => level === 'error').length, 3)
  disk.set('mesh/rulings.json', Buffer.from('{"rul'))
  const fourth = rulingsOn(disk)
  await fourth.rulings.load()
  t.ok(disk.has('mesh/rulings.json.corrupt-1'))
})
