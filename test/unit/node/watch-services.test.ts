import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import { watchServices } from '../../../src/node/control-services.ts'

const echo = (ready: boolean, inFlight = 0) => ({
  service: 'echo.v1.Echo',
  endpoints: [{ unit: 'echo', instance: 'echo-0', node: 'a', address: '127.0.0.1:1', ready, inFlight }],
})
const shop = { service: 'shop.v1.Orders', endpoints: [] }

t.test('all services first, then what changes, and of what came in between only the end', async (t) => {
  const changes = createTopic<undefined>()
  let services = [echo(false), shop]
  const turn = (now: typeof services): void => {
    services = now
    changes.publish(undefined)
  }
  const stop = new AbortController()
  const steps = watchServices({ services: () => services, world: { changes } }, [], stop.signal)
  t.same((await steps.next()).value, { services: [echo(false), shop], removed: [] })

  turn([echo(true), shop])
  t.same((await steps.next()).value, { services: [echo(true)], removed: [] }, 'only what changed')

  turn([echo(true, 7), shop])
  turn([echo(false), shop])
  turn([shop])
  t.same((await steps.next()).value, { services: [], removed: ['echo.v1.Echo'] }, 'a slow reader gets the last state')

  const next = steps.next()
  turn([shop])
  stop.abort()
  t.same(await next, { value: undefined, done: true }, 'what is no change is not told, and an abort ends it')
})

t.test('a watch of some services hears of those alone', async (t) => {
  const changes = createTopic<undefined>()
  const stop = new AbortController()
  const core = { services: () => [echo(true), shop], world: { changes } }
  const steps = watchServices(core, ['shop.v1.Orders', 'not.there'], stop.signal)
  t.same((await steps.next()).value, { services: [shop], removed: [] })
  await steps.return()
})
