import t from 'tap'
import { createRememberedPeers } from '../../../src/mesh/libp2p/remembered-peers.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'

const KEY = 'mesh/peers.json'

t.test('a file of peers that is torn at any byte is read whole or set aside, and written anew', async (t) => {
  const clock = new SimClock()
  const log = memoryLog()
  const create = (disk: Map<string, Uint8Array>) =>
    createRememberedPeers({ clock, random: seeded(1), log, store: simStore(disk) })
  const disk = new Map<string, Uint8Array>()
  const first = create(disk)
  first.note('x', ['/ip4/10.0.0.7/tcp/1', '/ip6/2001:db8::7/tcp/1'])
  first.note('y', ['/ip4/10.0.0.8/tcp/1'])
  await first.stop()
  const whole = disk.get(KEY) ?? new Uint8Array()
  const all = await create(disk).load()
  t.equal(all.length, 2)

  let setAside = 0
  for (let length = 0; length <= whole.length; length += 1) {
    const torn = new Map([[KEY, whole.subarray(0, length)]])
    const again = create(torn)
    const loaded = await again.load()
    if (loaded.length > 0) t.same(loaded, all, `${length} bytes`)
    else {
      t.same(torn.get(`${KEY}.corrupt-1`), whole.subarray(0, length), `${length} bytes are kept for a person`)
      setAside += 1
    }
    again.note('z', ['/ip4/10.0.0.9/tcp/1'])
    await again.stop()
    t.ok((await create(torn).load()).some(({ nodeId }) => nodeId === 'z'))
  }
  // Only the end of the last line is no loss.
  t.equal(setAside, whole.length - 1)
  t.equal(log.entries.filter(({ level }) => level === 'error').length, setAside)
})
