import t from 'tap'
import { holderProof, provesHolder } from '../../../src/mesh/keys/holder-proof.ts'
import { type HeldKey, KeyRing, reconcile } from '../../../src/mesh/keys/key-ring.ts'
import { meshKeyFingerprint, newMeshKey } from '../../../src/mesh/keys/mesh-key.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'

const [ONE, TWO, THREE] = [newMeshKey(), newMeshKey(), newMeshKey()] as const
const held = (key: Uint8Array, untilMs?: number): HeldKey => {
  return { key, fingerprint: meshKeyFingerprint(key), sinceMs: 0, untilMs }
}
const past = (...keys: Uint8Array[]): string[] => keys.map(meshKeyFingerprint)
const keysOf = (kept: { readonly held: readonly HeldKey[] }): Uint8Array[] => kept.held.map(({ key }) => key)

t.test('a proof shows holders of the key that a certain node has it, and nothing to others', async (t) => {
  const proof = holderProof(ONE, 'n1')
  t.ok(provesHolder([holderProof(TWO, 'n1'), proof], ONE, 'n1'))
  t.notOk(provesHolder([proof], ONE, 'n2'), 'it is no good for another node')
  t.notOk(provesHolder([proof], TWO, 'n1'))
  t.notOk(provesHolder([''], ONE, 'n1'))
})

t.test('which keys count at a start', async (t) => {
  t.same(keysOf(reconcile(undefined, [TWO, ONE], 0)), [TWO, ONE], 'a first start: those of the file')
  const rotated = { held: [held(TWO), held(ONE, 100)], past: [] }
  t.same(keysOf(reconcile(rotated, [ONE], 50)), [TWO, ONE], 'a file that was not written is behind')
  t.same(keysOf(reconcile(rotated, [ONE], 100)), [TWO], 'what had its time while the node was down is over')
  t.same(keysOf(reconcile({ held: [held(TWO)], past: past(ONE) }, [ONE], 0)), [TWO])
  t.same(keysOf(reconcile({ held: [held(TWO)], past: past(ONE) }, [TWO, ONE], 0)), [TWO])
  const replaced = reconcile(rotated, [THREE], 50)
  t.same(keysOf(replaced), [THREE], 'a person put another key there')
  t.same(replaced.past, past(TWO, ONE))
  t.same(keysOf(reconcile({ held: [held(ONE)], past: [] }, [THREE, ONE], 50)), [THREE, ONE], 'rotation by file')
  t.same(keysOf(reconcile({ held: [held(THREE), held(ONE)], past: [] }, [THREE], 50)), [THREE], 'and its end')
  t.same(keysOf(reconcile({ held: [held(ONE)], past: [] }, [ONE, TWO], 50)), [ONE, TWO])
})

t.test('keys survive a restart, are in the key file, and a damaged store falls back to the file', async (t) => {
  const clock = new SimClock()
  const disk = new Map<string, Uint8Array>()
  const log = memoryLog()
  let file: readonly Uint8Array[] = [ONE]
  const writeFile = async (keys: readonly Uint8Array[]): Promise<void> => void (file = keys)
  const load = (): Promise<KeyRing> => KeyRing.load({ clock, log, store: simStore(disk), writeFile }, file)
  const ring = await load()
  await ring.adopt(TWO, 1_000)
  t.same(file, [TWO, ONE])
  t.same((await load()).inForce(), [TWO, ONE])
  t.same(await ring.retire(), [])
  await clock.advance(1_000)
  t.same(await ring.retire(), past(ONE))
  t.same([ring.inForce(), file], [[TWO], [TWO]])
  t.ok(ring.knows(meshKeyFingerprint(ONE)))
  t.equal(ring.find(meshKeyFingerprint(ONE)), undefined)
  disk.set('mesh/keys.json', Buffer.from('{"held":[{"key":"AAAA"'))
  t.same((await load()).inForce(), [TWO])
  t.ok(log.entries.some(({ level }) => level === 'error'))
})
