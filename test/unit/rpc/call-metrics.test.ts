import t from 'tap'
import { CallMetrics } from '../../../src/rpc/router/call-metrics.ts'

t.test('calls are counted by door, unit, service, method and status', async (t) => {
  const metrics = new CallMetrics()
  const get = metrics.counter('ingress', 'shop', '/shop.v1.Orders/Get')
  t.equal(metrics.counter('ingress', 'shop', '/shop.v1.Orders/Get'), get)
  t.not(metrics.counter('link', 'shop', '/shop.v1.Orders/Get'), get)
  get.ended(0, 1)
  get.ended(0, 3)
  get.ended(14, 60_000)
  get.inFlight += 1
  const [row] = metrics.rows()
  t.match(row, {
    door: 'ingress',
    unit: 'shop',
    service: 'shop.v1.Orders',
    method: 'Get',
    codes: { OK: 2, UNAVAILABLE: 1 },
    inFlight: 1,
    latency: [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    seconds: 60.004,
  })
})

t.test('whatever callers ask for, there is a bound on what is remembered', async (t) => {
  const metrics = new CallMetrics()
  for (let method = 0; method < 1_000; method += 1)
    metrics.counter('ingress', 'shop', `/shop.v1.Orders/M${method}`).ended(0, 1)
  for (let path = 0; path < 1_000; path += 1) metrics.counter('ingress', '', `/nobody.v1.S${path}/M`).ended(12, 1)
  const rows = metrics.rows()
  t.equal(rows.length, 202)
  t.match(rows.find(({ unit, method }) => unit === 'shop' && method === 'other')?.codes, { OK: 800 })
  t.match(
    rows.find(({ unit }) => unit === ''),
    { codes: { UNIMPLEMENTED: 1_000 }, method: 'other', service: '' },
  )
})
