import fc from 'fast-check'
import t from 'tap'
import { silentLog } from '../../../src/base/log.ts'
import { createIdentity } from '../../../src/mesh/identity.ts'
import { Self } from '../../../src/mesh/self.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimDisk, simStore } from '../../../src/sim/sim-store.ts'

const identity = createIdentity()
const description = {
  name: 'n',
  version: '0',
  labels: {},
  linkFingerprints: () => [],
  linkAddresses: () => [],
  meshAddresses: () => [],
  keyProofs: () => [],
}

type Step = 'start' | 'refute' | 'kill' | 'power lost' | 'power lost, torn' | 'file damaged' | 'power lost in a write'

const step = fc.constantFrom<Step>(
  ...(['start', 'refute', 'refute', 'kill', 'power lost', 'power lost, torn', 'file damaged'] as const),
  'power lost in a write',
)

/** The place that was written last comes back empty, torn or as garbage, as after a disk fault. */
function damage(disk: SimDisk, last: string, how: number): void {
  const value = disk.get(last)
  if (value === undefined) return
  const damaged = [new Uint8Array(), value.subarray(0, value.length / 2), Buffer.from('garbage')][how % 3] as Uint8Array
  disk.set(last, damaged)
  disk.flushed.set(last, damaged)
}

t.test('an incarnation is never used twice, over kills, lost power, torn writes and a damaged file', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(step, fc.nat(2)), { maxLength: 40 }), async (steps) => {
      const disk = new SimDisk()
      const clock = new SimClock()
      const inner = simStore(disk)
      let last = ''
      let failing = false
      const store = {
        ...inner,
        put: async (key: string, value: Uint8Array) => {
          if (failing) {
            // Some of it reached the disk beside its place, and was never renamed into it.
            throw new Error('power lost')
          }
          last = key
          await inner.put(key, value)
        },
      }
      let self: Self | undefined
      let highest = 0
      let damagedSinceWrite = false
      for (const [what, how] of steps) {
        if (what === 'start') {
          const fresh = new Self({ clock, log: silentLog, store, identity }, description)
          await fresh.begin()
          self = fresh
          if (fresh.incarnation <= highest) return false
          highest = fresh.incarnation
          damagedSinceWrite = false
        } else if (what === 'refute' && self !== undefined) {
          await clock.advance(1_000)
          self.refute(self.incarnation, () => undefined)
          await self.refuted()
          if (self.incarnation <= highest) return false
          highest = self.incarnation
        } else if (what === 'power lost' || what === 'power lost, torn') {
          disk.loseThePower(what === 'power lost' ? 'before' : 'torn')
          self = undefined
        } else if (what === 'file damaged' && !damagedSinceWrite) {
          // Of two files one at a time; more than that is a lost data directory.
          damage(disk, last, how)
          damagedSinceWrite = true
          self = undefined
        } else if (what === 'power lost in a write') {
          failing = true
          const doomed = new Self({ clock, log: silentLog, store, identity }, description)
          await doomed.begin().catch(() => undefined)
          failing = false
          self = undefined
        } else self = undefined
      }
      return true
    }),
    { numRuns: 1_000 },
  )
  t.pass('1,000 histories')
})
