import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import { createOffers } from '../../../src/node/offers.ts'
import type { InstanceStatus } from '../../../src/process/index.ts'
import { instanceStatus } from '../../support/instance-status.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

const READY = instanceStatus()

type Ask = (address: string, signal: AbortSignal) => Promise<readonly string[]>

function setUp(askServices: Ask, configured?: readonly string[]) {
  const [clock, log, changes] = [new SimClock(), memoryLog(), createTopic<InstanceStatus>()]
  let statuses: readonly InstanceStatus[] = []
  const offers = createOffers({
    clock,
    log,
    random: seeded(1),
    supervisor: { status: () => statuses, changes },
    askServices,
    configuredServices: () => configured,
  })
  const become = (next: InstanceStatus): void => {
    statuses = [next]
    changes.publish(next)
  }
  return { clock, log, offers, become }
}

t.test('a unit that is slow to tell its services is asked again, and warned of once', async (t) => {
  let asked = 0
  let aborted = 0
  const { clock, log, offers, become } = setUp(async (_address, signal) => {
    asked += 1
    if (asked > 2) return ['echo.v1.EchoService']
    signal.addEventListener('abort', () => (aborted += 1))
    return new Promise(() => undefined)
  })
  become(READY)
  await clock.advance(1_000)
  t.same(offers.registrations()[0]?.services, [])
  await clock.advance(20_000)
  t.same(offers.registrations()[0]?.services, ['echo.v1.EchoService'])
  t.equal(asked, 3)
  t.equal(aborted, 2, 'a question that took too long is given up')
  t.equal(log.entries.length, 1)
  await offers.stop()
})

t.test('it is asked no more once it is not ready, and stopping waits for nobody', async (t) => {
  let asked = 0
  const { clock, offers, become } = setUp(async () => {
    asked += 1
    throw new Error('refused')
  })
  become(READY)
  await clock.advance(100)
  become({ ...READY, ready: false })
  await clock.advance(60_000)
  t.equal(asked, 1)
  become(READY)
  await clock.advance(100)
  await offers.stop()
  t.equal(clock.sleeping, 0)
})

t.test('configured services are taken without asking; a withdrawn instance is listed but not ready', async (t) => {
  const { offers, become } = setUp(async () => t.fail('asked') as never, ['shop.v1.Orders'])
  become(READY)
  t.match(offers.registrations(), [{ ready: true, services: ['shop.v1.Orders'] }])
  offers.withdraw('echo-0-1')
  t.match(offers.registrations(), [{ ready: false, services: ['shop.v1.Orders'] }])
  await offers.stop()
})
