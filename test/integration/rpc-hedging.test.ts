import { constants, type ServerHttp2Stream } from 'node:http2'
import { status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { type RouteConfig, routeSchema } from '../../src/rpc/config.ts'
import { createInFlight } from '../../src/rpc/router/in-flight.ts'
import { framed, grpcClient, rawBackend, respondGrpc, startIngress } from '../support/call-rig.ts'
import { echoAt, literalWorld, SERVICE } from '../support/literal-world.ts'
import { until } from '../support/until.ts'

const HELLO = Buffer.from('hello')

/** What is done with one attempt, whose request is all there. */
type Behaviour = (stream: ServerHttp2Stream, attempt: number, request: Buffer) => void

const answers: Behaviour = (stream, attempt, request) =>
  respondGrpc(stream, [framed(Buffer.from(`${attempt} ${request.length}`))])
const hangs: Behaviour = () => undefined
const fails =
  (code: number, extra: Readonly<Record<string, string>> = {}): Behaviour =>
  (stream) =>
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(code), ...extra },
      { endStream: true },
    )

/** As many replicas of one unit as there are behaviours, one for each attempt that comes, wherever; the last one for all after it. */
async function site(t: Test, hedging: object, behaviours: readonly Behaviour[], route: object = {}) {
  const seen: number[] = []
  const cancelled: number[] = []
  const backends = await Promise.all(
    behaviours.map((_, replica) =>
      rawBackend(t, (stream) => {
        const attempt = seen.push(replica) - 1
        const behave = behaviours[attempt] ?? behaviours.at(-1)
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => behave?.(stream, attempt, Buffer.concat(chunks).subarray(5)))
        stream.on('close', () => {
          if (stream.rstCode === constants.NGHTTP2_CANCEL) cancelled.push(attempt)
        })
      }),
    ),
  )
  const methods = { [`${SERVICE}/Get`]: { idempotent: true, hedging } }
  const parsed: RouteConfig = routeSchema.parse({ policy: 'round-robin', methods, ...route })
  const entries = backends.map(({ address }, replica) => echoAt(address, { instance: `echo-${replica}-abc123` }))
  const inFlight = createInFlight()
  const ingress = await startIngress(t, literalWorld(...entries), { routeOf: () => parsed, inFlight })
  const idle = (): Promise<true> =>
    until('nothing to be under way', () => entries.every((_, at) => inFlight.of(`echo-${at}-abc123`) === 0))
  return { ...grpcClient(t, ingress.address()), seen, cancelled, idle, backends }
}

t.test('a replica that is slow is overtaken by another, and told so', async (t) => {
  const { call, seen, cancelled, idle } = await site(t, { delay: '20ms' }, [hangs, answers])
  const { status: end, messages } = await call('Get', [Buffer.alloc(30_000, 'x')])
  t.equal(end.code, status.OK)
  t.same(messages.map(String), ['1 30000'], 'the whole request went to the second one')
  t.equal(new Set(seen).size, 2, 'which is another replica')
  await until('the slow one to be told', () => cancelled.length === 1)
  t.same(cancelled, [0])
  await idle()
})

t.test('a replica that answers in time is asked alone', async (t) => {
  const { call, seen, idle } = await site(t, { delay: '60s' }, [answers, answers])
  for (let at = 0; at < 4; at += 1) t.equal((await call('Get', [HELLO])).status.code, status.OK)
  t.equal(seen.length, 4)
  await idle()
})

t.test('the first one wins as well, and the other is told', async (t) => {
  const waiting: (() => void)[] = []
  const late: Behaviour = (stream, attempt, request) => waiting.push(() => answers(stream, attempt, request))
  const { call, seen, cancelled, idle } = await site(t, { delay: '10ms' }, [late, hangs])
  const result = call('Get', [HELLO])
  await until('both to be asked', () => seen.length === 2)
  waiting.forEach((answer) => answer())
  t.match((await result).messages.map(String), ['0 5'])
  await until('the other to be told', () => cancelled.length === 1)
  t.same(cancelled, [1])
  await idle()
})

t.test('after a status that is not fatal the next one is asked at once', async (t) => {
  const { call, seen, idle } = await site(t, { delay: '60s', attempts: 3 }, [fails(14), fails(14), answers])
  const { status: end, messages } = await call('Get', [HELLO])
  t.equal(end.code, status.OK)
  t.match(messages.map(String), ['2 5'])
  t.equal(new Set(seen).size, 3)
  await idle()
})

t.test('a fatal status is the answer', async (t) => {
  const { call, seen, cancelled, idle } = await site(t, { delay: '10ms', attempts: 3 }, [hangs, fails(5), answers])
  t.equal((await call('Get', [HELLO])).status.code, status.NOT_FOUND)
  await until('the slow one to be told', () => cancelled.includes(0))
  t.ok(seen.length >= 2)
  await idle()
})

t.test('when all fail, the answer is what the last one said', async (t) => {
  const { call, seen, idle } = await site(t, { delay: '60s', attempts: 2 }, [
    fails(14, { 'grpc-message': 'first' }),
    fails(14, { 'grpc-message': 'second' }),
    answers,
  ])
  t.match((await call('Get', [HELLO])).status, { code: status.UNAVAILABLE, details: 'second' })
  t.equal(seen.length, 2)
  await idle()
})

t.test('a unit that wants no further attempt gets none', async (t) => {
  const never = fails(14, { 'grpc-retry-pushback-ms': '-1' })
  const { call, seen } = await site(t, { delay: '60s' }, [never, answers])
  t.equal((await call('Get', [HELLO])).status.code, status.UNAVAILABLE)
  t.equal(seen.length, 1)
})

t.test('connections that break under attempts cost nothing while another one lives', async (t) => {
  const breaks: Behaviour = (stream) => stream.session?.destroy()
  const { call, seen, idle } = await site(t, { delay: '60s', attempts: 3 }, [breaks, breaks, answers])
  const { status: end } = await call('Get', [HELLO])
  t.equal(end.code, status.OK)
  t.equal(new Set(seen).size, 3)
  await idle()
})

t.test('a replica that is not there is passed over', async (t) => {
  const { call, seen, idle, backends } = await site(t, { delay: '10ms', attempts: 3 }, [hangs, answers, answers])
  await backends[1]?.kill()
  for (let at = 0; at < 6; at += 1) t.equal((await call('Get', [HELLO])).status.code, status.OK)
  t.notOk(seen.includes(1))
  await idle()
})

t.test('attempts come out of the retry budget', async (t) => {
  const route = { retry_budget: { ratio: '0%', min_per_second: 0.1 } }
  const { call, seen } = await site(t, { delay: '5ms' }, [hangs, answers, hangs], route)
  t.equal((await call('Get', [HELLO])).status.code, status.OK)
  t.equal((await call('Get', [HELLO], { timeoutMs: 200 })).status.code, status.DEADLINE_EXCEEDED)
  t.equal(seen.length, 3, 'the one in ten seconds is spent')
})

t.test('the deadline of the caller ends all attempts', async (t) => {
  const { call, seen, cancelled, idle } = await site(t, { delay: '5ms', attempts: 3 }, [hangs, hangs, hangs])
  t.equal((await call('Get', [HELLO], { timeoutMs: 150 })).status.code, status.DEADLINE_EXCEEDED)
  await until('all to be told', () => cancelled.length === 3)
  t.equal(seen.length, 3)
  await idle()
})

t.test('the time of the route ends all attempts', async (t) => {
  const route = { timeout: '100ms' }
  const { call, cancelled, idle } = await site(t, { delay: '5ms' }, [hangs, hangs], route)
  t.equal((await call('Get', [HELLO])).status.code, status.DEADLINE_EXCEEDED)
  await until('all to be told', () => cancelled.length === 2)
  await idle()
})

t.test('requests that are still coming are not sent twice, nor are those of other methods', async (t) => {
  const { call, client, seen } = await site(t, { delay: '5ms' }, [hangs, answers])
  t.equal((await call('Put', [HELLO], { timeoutMs: 100 })).status.code, status.DEADLINE_EXCEEDED)
  t.equal(seen.length, 1)
  const asIs = (bytes: Buffer): Buffer => bytes
  const stream = client.makeBidiStreamRequest(`/${SERVICE}/Get`, asIs, asIs, { deadline: Date.now() + 150 })
  stream.on('error', () => undefined)
  stream.write(HELLO)
  const end = await new Promise<{ code: number }>((resolve) => stream.on('status', resolve))
  t.equal(end.code, status.DEADLINE_EXCEEDED)
  t.equal(seen.length, 2)
})

t.test('a thousand calls at once, of which one in two is slow', async (t) => {
  let turn = 0
  const often: Behaviour = (stream, attempt, request) => {
    turn += 1
    if (turn % 2 === 0) answers(stream, attempt, request)
    else setTimeout(() => answers(stream, attempt, request), 200)
  }
  const route = { retry_budget: { ratio: '100%', min_per_second: 1_000 } }
  const { call, idle } = await site(t, { delay: '30ms', attempts: 5 }, [often, often, often, often, often], route)
  const results = await Promise.all(Array.from({ length: 1_000 }, () => call('Get', [HELLO])))
  t.ok(results.every(({ messages }) => messages.length === 1))
  await idle()
})
