import t from 'tap'
import { callShapes } from '../../../src/cli/call-shapes.ts'
import { callLines, callTable } from '../../../src/cli/call-views.ts'
import type { CallCounts } from '../../../src/cli/control.ts'
import { styleFor } from '../../../src/cli/style.ts'

const counts = (changes: Partial<CallCounts>): CallCounts =>
  ({
    node: 'a',
    door: 'ingress',
    unit: 'shop',
    service: 'shop.v1.Orders',
    method: 'Get',
    codes: { OK: 98n, UNAVAILABLE: 2n },
    inFlight: 1,
    latency: [0n, 98n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 2n, 0n, 0n, 0n, 0n],
    seconds: 1,
    requestBytes: 1_000n,
    responseBytes: 2_000n,
    retries: 3n,
    held: 1n,
    rejected: 0n,
    ...changes,
  }) as CallCounts

t.test('calls are added up by service, where they came in', async (t) => {
  const shapes = callShapes([
    counts({}),
    counts({ node: 'b', method: 'Put', codes: { OK: 100n } }),
    counts({ node: 'b', door: 'link' }),
    counts({ service: '', unit: '', codes: { UNIMPLEMENTED: 5n }, latency: [5n] }),
  ])
  t.match(shapes, [
    { service: 'shop.v1.Orders', unit: 'shop', calls: 200, failed: 2, inFlight: 2, p50Seconds: 0.0025, p99Seconds: 1 },
    { service: '', calls: 5, failed: 5, p99Seconds: 0.001 },
  ])
  const plain = styleFor(false, {})
  t.match(callTable(shapes, plain), /shop\.v1\.Orders +shop +200 +2 +2 +<=2\.5ms +<=1s/)
  t.match(callTable(shapes, plain), /\(not found\)/)
  t.equal(callTable([], plain), 'no calls yet')
})

t.test('between two looks there is a rate', async (t) => {
  const before = callShapes([counts({ codes: { OK: 50n } })])
  const now = callShapes([counts({})])
  t.same(callLines(now, before, 2_000, 4), [
    '  calls shop.v1.Orders (shop): 25.0/s, 1.0 failed/s, 1 in flight, p99 <=1s',
  ])
  t.match(callLines(now, undefined, 0, 4)[0], /100 calls, 2 failed/)
})
