import t from 'tap'
import { faultMetrics, routeMetrics } from '../../../src/node/admin/route-metrics.ts'
import { CallMetrics } from '../../../src/rpc/router/call-metrics.ts'

t.test('calls are told in the text format of Prometheus', async (t) => {
  t.equal(routeMetrics([]), '')
  const metrics = new CallMetrics()
  const get = metrics.counter('ingress', 'shop', '/shop.v1.Orders/Get')
  get.ended(0, 2)
  get.ended(14, 400)
  get.requestBytes = 10
  const text = routeMetrics(metrics.rows())
  const labels = 'service="shop.v1.Orders",method="Get",unit="shop",door="ingress"'
  for (const line of [
    `hsu_route_calls_total{${labels},code="OK"} 1`,
    `hsu_route_calls_total{${labels},code="UNAVAILABLE"} 1`,
    `hsu_route_duration_seconds_bucket{${labels},le="0.001"} 0`,
    `hsu_route_duration_seconds_bucket{${labels},le="0.0025"} 1`,
    `hsu_route_duration_seconds_bucket{${labels},le="+Inf"} 2`,
    `hsu_route_duration_seconds_sum{${labels}} 0.402`,
    `hsu_route_duration_seconds_count{${labels}} 2`,
    `hsu_route_request_bytes_total{${labels}} 10`,
    `hsu_route_in_flight{${labels}} 0`,
    '# TYPE hsu_route_duration_seconds histogram',
  ]) {
    t.ok(text.split('\n').includes(line), line)
  }
})

t.test('names that callers made up cannot break the text', async (t) => {
  const metrics = new CallMetrics()
  metrics.counter('ingress', 'shop', '/shop.v1.Orders/a"\\b').ended(0, 1)
  t.match(routeMetrics(metrics.rows()), /method="a\\"\\\\b"/)
})

t.test('faults of callers are told by what was ended and why', async (t) => {
  t.equal(faultMetrics([]), '')
  const metrics = new CallMetrics()
  for (let at = 0; at < 3; at += 1) metrics.faults.add('ingress', { ends: 'connection', reason: 'rapid_reset' })
  metrics.faults.add('link', { ends: 'call', reason: 'header_bomb' })
  const lines = faultMetrics(metrics.faults.rows()).split('\n')
  t.ok(lines.includes('hsu_route_faults_total{door="ingress",ends="connection",reason="rapid_reset"} 3'))
  t.ok(lines.includes('hsu_route_faults_total{door="link",ends="call",reason="header_bomb"} 1'))
  t.ok(lines.includes('# TYPE hsu_route_faults_total counter'))
})
