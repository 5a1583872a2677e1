import t from 'tap'
import { Arena, SLAB_BYTES } from '../../../../src/rpc/relay/arena.ts'

const SLABS = 70

function takeAll(arena: Arena): number[] {
  return Array.from({ length: SLABS }, () => arena.take()).flatMap((slab) => (slab === undefined ? [] : [slab]))
}

t.test('slabs are apart from each other and from the rest, and end', (t) => {
  const arena = new Arena(SLABS)
  const slabs = takeAll(arena)
  t.equal(new Set(slabs).size, SLABS)
  t.equal(arena.used, SLABS)
  t.equal(arena.take(), undefined)
  const sorted = [...slabs, arena.scratch, arena.keptAt].toSorted((one, other) => one - other)
  const gaps = sorted.slice(1).map((at, index) => at - (sorted[index] ?? 0))
  t.ok(
    gaps.every((gap) => gap >= SLAB_BYTES),
    'a slab overlaps with another',
  )
  t.end()
})

t.test('the first free slab is taken, in whatever order they came back', (t) => {
  const arena = new Arena(SLABS)
  const slabs = takeAll(arena)
  for (const slab of slabs.toSorted((one, other) => (one % 7919) - (other % 7919))) arena.give(slab)
  t.equal(arena.used, 0)
  t.same(takeAll(arena), slabs, 'memory that was touched is used again before any other')
  arena.give(slabs[31] ?? 0)
  arena.give(slabs[64] ?? 0)
  t.equal(arena.take(), slabs[31])
  t.equal(arena.take(), slabs[64])
  t.end()
})
