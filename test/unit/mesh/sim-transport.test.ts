import t from 'tap'
import { transportContract } from '../../contract/transport.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimNetwork } from '../../../src/sim/sim-network.ts'

t.test('SimTransport is a transport', (t) =>
  transportContract(t, async () => {
    const clock = new SimClock()
    const network = new SimNetwork({ clock, random: seeded(1), discovery: false })
    return { a: network.transport('a'), b: network.transport('b'), advance: (ms) => clock.advance(ms) }
  }),
)
