import type { ServerHttp2Stream } from 'node:http2'
import { Metadata, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { type RouteConfig, routeSchema } from '../../src/rpc/config.ts'
import { systemTurn } from '../../src/base/system-turn.ts'
import { CallMetrics } from '../../src/rpc/router/call-metrics.ts'
import { CallTap } from '../../src/rpc/router/call-watch.ts'
import { ALL_CALLS } from '../../src/rpc/router/ended-call.ts'
import { seeded } from '../../src/sim/seeded.ts'
import {
  answerOf,
  framed,
  type GrpcClient,
  grpcClient,
  openRaw,
  rawBackend,
  rawClient,
  respondGrpc,
  startIngress,
  valuesOf,
} from '../support/call-rig.ts'
import { echoAt, literalWorld, SERVICE } from '../support/literal-world.ts'
import { until } from '../support/until.ts'

const HELLO = Buffer.from('hello')

/** What a unit does with a call. */
type Behaviour = (stream: ServerHttp2Stream, replica: number) => void

const answers: Behaviour = (stream, replica) => respondGrpc(stream, [framed(Buffer.from(String(replica)))])

/** A unit that says that it cannot take the call, when it has read it. */
const unavailable =
  (extra: Readonly<Record<string, string>> = {}): Behaviour =>
  (stream) => {
    stream.resume()
    const fields = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14', ...extra }
    stream.on('end', () => stream.respond(fields, { endStream: true }))
  }

interface Site {
  readonly client: GrpcClient
  readonly address: string
  /** Calls that have reached each replica. */
  readonly seen: number[]
}

/** Replicas of one unit behind an ingress. */
async function site(t: Test, route: Readonly<Record<string, unknown>>, ...behaviours: Behaviour[]): Promise<Site> {
  const seen = behaviours.map(() => 0)
  const backends = await Promise.all(
    behaviours.map((behave, replica) =>
      rawBackend(t, (stream) => {
        seen[replica] = (seen[replica] ?? 0) + 1
        behave(stream, replica)
      }),
    ),
  )
  const parsed: RouteConfig = routeSchema.parse(route)
  const entries = backends.map(({ address }, replica) => echoAt(address, { instance: `echo-${replica}-abc123` }))
  const ingress = await startIngress(t, literalWorld(...entries), { routeOf: () => parsed })
  return { client: grpcClient(t, ingress.address()), address: ingress.address(), seen }
}

const IDEMPOTENT = { [`${SERVICE}/Get`]: { idempotent: true } }

t.test('a call that a unit has seen goes to another one when its method is idempotent', async (t) => {
  const { client, seen } = await site(t, { methods: IDEMPOTENT, policy: 'round-robin' }, unavailable(), answers)
  for (let call = 0; call < 4; call += 1) {
    t.equal((await client.call('Get', [HELLO])).status.code, status.OK)
  }
  t.ok((seen[0] ?? 0) >= 2, 'it was tried there as well')
  const ends: status[] = []
  for (let call = 0; call < 4; call += 1) ends.push((await client.call('Put', [HELLO])).status.code)
  t.same([...new Set(ends)].sort(), [status.OK, status.UNAVAILABLE], 'other methods get what the unit said')
})

t.test('the request goes along whole, and the answer of the last one is the answer', async (t) => {
  const bodies: string[] = []
  const reads: Behaviour = (stream) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      bodies.push(Buffer.concat(chunks).subarray(5).toString())
      const fields = { 'grpc-status': '14', 'grpc-message': 'busy', 'x-why': 'maintenance' }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...fields }, { endStream: true })
    })
  }
  const { client } = await site(t, { methods: IDEMPOTENT, retries: 2 }, reads, reads)
  const { status: end } = await client.call('Get', [Buffer.alloc(20_000, 'x')])
  t.match(end, { code: status.UNAVAILABLE, details: 'busy' })
  t.same(end.metadata.get('x-why'), ['maintenance'])
  t.same(
    bodies.map(({ length }) => length),
    [20_000, 20_000, 20_000],
  )
})

t.test('a unit that does not want to see the call again is not asked again', async (t) => {
  const never = unavailable({ 'grpc-retry-pushback-ms': '-1' })
  const { client, seen } = await site(t, { methods: IDEMPOTENT }, never, never)
  t.equal((await client.call('Get', [HELLO])).status.code, status.UNAVAILABLE)
  t.equal((seen[0] ?? 0) + (seen[1] ?? 0), 1)
})

t.test('the deadline of the caller wins over all that is tried', async (t) => {
  const { client } = await site(t, { methods: IDEMPOTENT }, unavailable({ 'grpc-retry-pushback-ms': '60000' }))
  const { status: end } = await client.call('Get', [HELLO], { timeoutMs: 150 })
  t.equal(end.code, status.DEADLINE_EXCEEDED)
})

t.test('a connection that breaks under a call costs an idempotent one nothing', async (t) => {
  const breaks: Behaviour = (stream) => {
    stream.resume()
    stream.on('end', () => stream.session?.destroy())
  }
  const { client, seen } = await site(t, { methods: IDEMPOTENT, policy: 'round-robin' }, breaks, answers)
  for (let call = 0; call < 3; call += 1) t.equal((await client.call('Get', [HELLO])).status.code, status.OK)
  t.ok((seen[0] ?? 0) >= 1)
})

t.test('retries end with the budget', async (t) => {
  const route = {
    methods: IDEMPOTENT,
    retry_budget: { ratio: '0%', min_per_second: 0.2 },
    ejection: { failures: 1_000 },
  }
  const { client, seen } = await site(t, route, unavailable(), unavailable())
  for (let call = 0; call < 10; call += 1) await client.call('Get', [HELLO])
  t.equal((seen[0] ?? 0) + (seen[1] ?? 0), 12, 'two in ten seconds')
})

t.test('an instance that answers badly gets no more calls for a while', async (t) => {
  const route = { policy: 'round-robin', ejection: { failures: 3, time: '1m..1m' } }
  const { client, seen } = await site(t, route, unavailable(), answers)
  const ends: status[] = []
  for (let call = 0; call < 30; call += 1) ends.push((await client.call('Put', [HELLO])).status.code)
  t.equal(seen[0], 3)
  t.equal(ends.filter((code) => code === status.OK).length, 27)
})

t.test('equal metadata goes to one instance', async (t) => {
  const route = { policy: 'consistent-hash', hash_on: 'x-user' }
  const { client } = await site(t, route, answers, answers, answers)
  const chosen = new Map<string, Set<string>>()
  for (let call = 0; call < 60; call += 1) {
    const metadata = new Metadata()
    const user = `user-${call % 20}`
    metadata.set('x-user', user)
    const { messages } = await client.call('Put', [HELLO], { metadata })
    chosen.set(user, (chosen.get(user) ?? new Set()).add(String(messages[0])))
  }
  t.ok([...chosen.values()].every(({ size }) => size === 1))
  t.ok(new Set([...chosen.values()].flatMap((set) => [...set])).size > 1, 'and others elsewhere')
})

t.test('a canary gets its share of 1,000 calls, and those that ask for it', async (t) => {
  const seen = { stable: 0, canary: 0 }
  const backend = (unit: keyof typeof seen) =>
    rawBackend(t, (stream) => {
      seen[unit] += 1
      respondGrpc(stream, [framed(HELLO)])
    })
  const canary = { share: 1_000, headers: { 'x-canary': '1' } }
  const [one, two] = [await backend('stable'), await backend('canary')]
  const world = literalWorld(
    echoAt(one.address),
    echoAt(two.address, { unit: 'echo-v2', instance: 'echo-v2-0-abc123', canary }),
  )
  const { call } = grpcClient(t, (await startIngress(t, world)).address())
  for (let round = 0; round < 20; round += 1) await Promise.all(Array.from({ length: 50 }, () => call('Get', [HELLO])))
  t.equal(seen.stable + seen.canary, 1_000)
  // Binomial, n = 1,000, p = 0.1: the standard deviation is 9.5; four of them.
  t.ok(Math.abs(seen.canary - 100) < 38, `${seen.canary} calls`)
  const metadata = new Metadata()
  metadata.set('x-canary', '1')
  const before = seen.canary
  for (let turn = 0; turn < 20; turn += 1) await call('Get', [HELLO], { metadata })
  t.equal(seen.canary, before + 20)
})

t.test('a call keeps to its part, and leaves it only when nothing else is left', async (t) => {
  const refuses = await rawBackend(t, (stream) => stream.close(7))
  const answering = await rawBackend(t, (stream) => respondGrpc(stream, [framed(HELLO)]))
  const canary = { share: 10_000, headers: {} }
  const world = literalWorld(
    echoAt(answering.address),
    echoAt(refuses.address, { unit: 'echo-v2', instance: 'echo-v2-0-abc123', canary }),
  )
  const { call } = grpcClient(t, (await startIngress(t, world)).address())
  for (let turn = 0; turn < 5; turn += 1) t.equal((await call('Get', [HELLO])).status.code, status.OK)
})

t.test('calls beyond the limit are refused, with the time to wait', async (t) => {
  const holding: ServerHttp2Stream[] = []
  const holds: Behaviour = (stream) => void holding.push(stream)
  const { address } = await site(t, { limits: { concurrency: 2 } }, holds)
  const session = rawClient(t, address)
  const open = () => answerOf(openRaw(session, `/${SERVICE}/Put`).end(framed(HELLO)))
  const held = [open(), open()]
  await until('both to be under way', () => holding.length === 2)
  const refused = await open()
  t.same(valuesOf(refused.headers, 'grpc-status'), [String(status.RESOURCE_EXHAUSTED)])
  t.same(valuesOf(refused.headers, 'grpc-retry-pushback-ms'), ['100'])
  t.match(valuesOf(refused.headers, 'grpc-message')[0], /2 calls under way/)
  for (const stream of holding.splice(0)) respondGrpc(stream)
  await Promise.all(held)
  const again = open()
  await until('the next one', () => holding.length === 1)
  for (const stream of holding) respondGrpc(stream)
  t.same(valuesOf((await again).trailers, 'grpc-status'), ['0'], 'there is room again')
})

t.test('a method has a timeout of its own', async (t) => {
  const route = { timeout: '1h', methods: { [`${SERVICE}/Get`]: { timeout: '100ms' } } }
  const { client } = await site(t, route, () => undefined)
  t.equal((await client.call('Get', [HELLO])).status.code, status.DEADLINE_EXCEEDED)
})

t.test('what becomes of calls is counted, once each', async (t) => {
  const metrics = new CallMetrics()
  const backend = await rawBackend(t, (stream, headers) => {
    if (headers[':path']?.endsWith('/Bad') === true) unavailable()(stream, 0)
    else answers(stream, 0)
  })
  const ended: string[] = []
  const tap = new CallTap({ turn: systemTurn, random: seeded(1) }, ({ calls }) => {
    ended.push(...calls.map(({ path, status, instance, attempts }) => `${path} ${status} ${instance} ${attempts}`))
  })
  tap.interest = ALL_CALLS
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), {
    ...{ metrics, tap },
  })
  const { call } = grpcClient(t, ingress.address())
  for (let turn = 0; turn < 5; turn += 1) await call('Get', [HELLO])
  await call('Bad', [HELLO])
  await call('/nobody.v1.Here/Get', [HELLO])
  await until('all to be over', () => ended.length === 7)
  const rows = metrics.rows()
  const row = (method: string) => rows.find((each) => each.method === method)
  t.match(row('Get'), { unit: 'echo', service: SERVICE, codes: { OK: 5 }, inFlight: 0, door: 'ingress' })
  t.equal(row('Get')?.requestBytes, 5 * (HELLO.length + 5))
  t.equal(row('Get')?.responseBytes, 5 * 6)
  t.equal(
    row('Get')?.latency.reduce((sum, count) => sum + count, 0),
    5,
  )
  t.match(row('Bad')?.codes, { UNAVAILABLE: 1 })
  t.match(row('other'), { unit: '', codes: { UNIMPLEMENTED: 1 } })
  t.ok(ended.includes(`/${SERVICE}/Get 0 echo-0-aaaaaa 1`))
})

t.test('W3C trace context passes untouched, however it is written', async (t) => {
  const raws: string[][] = []
  const backend = await rawBackend(t, (stream, _, raw) => {
    raws.push(raw)
    respondGrpc(stream)
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  const tracestate = 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Put`, {
    traceparent,
    tracestate,
    baggage: 'a=b%20c',
  })
  await answerOf(request.end(framed(HELLO)))
  const [raw] = raws
  t.same(
    ['traceparent', 'tracestate', 'baggage'].flatMap((name) => valuesOf(raw ?? [], name)),
    [traceparent, tracestate, 'a=b%20c'],
  )
})
