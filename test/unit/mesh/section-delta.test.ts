import fc from 'fast-check'
import t from 'tap'
import { createIdentity } from '../../../src/mesh/identity.ts'
import type { Registration, Section, SectionDelta } from '../../../src/mesh/member.ts'
import { Registry } from '../../../src/mesh/registry/registry.ts'
import { applyEdits, arrange, editsBetween } from '../../../src/mesh/registry/section-delta.ts'
import { canonical } from '../../../src/mesh/registry/section.ts'
import {
  isGenuineSection,
  sectionAfter,
  signSection,
  signSectionBytes,
} from '../../../src/mesh/registry/signed-section.ts'
import { registration } from '../../support/sim-mesh.ts'

const identity = createIdentity()

function newRegistry(): Registry {
  const registry = new Registry(identity.nodeId, (bytes) => signSectionBytes(identity, bytes))
  registry.begin(1)
  return registry
}

/** `count` registrations, enough of them that a change of one is worth a delta. */
function crowd(count: number, changes: Partial<Registration> = {}): Registration[] {
  return Array.from({ length: count }, (_, index) => registration(`u${index}`, changes))
}

function deltaOf(registry: Registry): SectionDelta {
  const news = registry.news()
  if (!('delta' in news)) throw new Error('the whole section is told')
  return news.delta
}

const row = fc.record({ key: fc.constantFrom('a', 'b', 'c'), value: fc.nat(3) })
const rows = fc.array(row, { maxLength: 8 }).map((list) => list.map((one) => ({ ...one, text: JSON.stringify(one) })))

t.test('edits lead from what was to what is wanted, over several steps, and equal ones count once', async () => {
  fc.assert(
    fc.property(rows, rows, rows, (first, second, third) => {
      const before = arrange([], first)
      const after = arrange(arrange(before, second), third)
      const texts = (list: readonly { text: string }[]): string[] => list.map(({ text }) => text)
      const edited = applyEdits(before, editsBetween(before, after))
      return (
        JSON.stringify(edited) === JSON.stringify(after) &&
        texts(after).sort().join() === [...new Set(texts(third))].sort().join()
      )
    }),
  )
})

t.test('edits that do not fit are refused', async (t) => {
  const at = (...places: number[]) => places.map((place) => ({ at: place, item: 'x' }))
  t.same(applyEdits(['a', 'b'], { removed: [0], changed: at(1, 2, 2) }), ['x', 'x', 'x'])
  for (const edits of [
    { removed: [2], changed: [] },
    { removed: [0, 0], changed: [] },
    { removed: [0], changed: at(0) },
    { removed: [], changed: at(1, 1) },
    { removed: [], changed: at(3) },
  ])
    t.equal(applyEdits(['a', 'b'], edits), undefined)
})

t.test('whoever holds the section before has the whole, signed section after', async (t) => {
  const registry = newRegistry()
  registry.publish(crowd(40))
  registry.markTold()
  let held: Section = registry.own
  const steps = [
    [...crowd(40), registration('new')],
    [...crowd(40).map((one) => (one.unit === 'u7' ? { ...one, ready: false } : one)), registration('new')],
    crowd(39),
    crowd(39).reverse().slice(2),
  ]
  for (const wanted of steps) {
    registry.publish(wanted)
    held = sectionAfter(held, deltaOf(registry)) ?? held
    registry.markTold()
    t.equal(held.version, registry.own.version)
    t.ok(isGenuineSection(held))
    t.same(held, registry.own)
    t.equal(canonical(held.registrations), canonical(wanted))
    const whole = signSection(identity, held)
    t.same(whole.signed, held.signed, 'byte for byte what is signed as a whole')
  }
})

t.test('several changes before they are told are one, and telling does not change the news', async (t) => {
  const registry = newRegistry()
  registry.publish(crowd(40))
  registry.markTold()
  const before = registry.own
  registry.publish([...crowd(40), registration('a')])
  registry.publish([...crowd(40), registration('b')])
  const delta = deltaOf(registry)
  t.same([delta.baseVersion, delta.version, delta.changed.length], [before.version, before.version + 2, 1])
  registry.markTold()
  t.equal(deltaOf(registry), delta)
})

t.test('the whole is told when the change is large, and after a section that others held was outbid', async (t) => {
  const registry = newRegistry()
  registry.publish(crowd(40))
  registry.markTold()
  registry.publish(crowd(40, { ready: false }))
  t.ok('section' in registry.news())
  registry.markTold()
  registry.outbid({ ...registry.own, version: 90, registrations: [] })
  t.match(registry.news(), { section: { version: 91 } })
})

t.test('a change is nothing to whoever holds another base, or the same numbers with other content', async (t) => {
  const registry = newRegistry()
  registry.publish(crowd(40))
  registry.markTold()
  const base = registry.own
  registry.publish(crowd(39))
  const delta = deltaOf(registry)
  t.ok(sectionAfter(base, delta))
  for (const other of [
    { ...base, version: base.version - 1 },
    { ...base, incarnation: 2 },
    { ...base, owner: 'n2' },
    { owner: base.owner, incarnation: 1, version: base.version, registrations: base.registrations },
  ])
    t.equal(sectionAfter(other, delta), undefined)
  const ghost = signSection(identity, { ...base, registrations: crowd(40, { address: '127.0.0.1:1' }) })
  const made = sectionAfter(ghost, delta)
  t.notOk(made && isGenuineSection(made))
})
