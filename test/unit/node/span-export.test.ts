import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { JsonPost, PostAnswer } from '../../../src/base/json-post.ts'
import { jsonPost } from '../../../src/base/json-post.ts'
import { spanOf, tracesBody } from '../../../src/node/calls/span.ts'
import { createSpanExport } from '../../../src/node/calls/span-export.ts'
import type { EndedCall, EndedCalls } from '../../../src/rpc/index.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { endedCall } from '../../support/ended-call.ts'
import { memoryLog } from '../../support/memory-log.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'
const CONTEXT = { node: 'a', nodeId: 'id-a', version: '1.2.3', nameOf: (id: string) => id }

const call = (values: Partial<EndedCall> = {}): EndedCall =>
  endedCall({
    endedAtMs: 1_893_456_000_100,
    tookMs: 1.5,
    attempts: 2,
    traceparent: `00-${TRACE}-${PARENT}-01`,
    ...values,
  })

interface Body {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly object[] }[] }[]
}

const spansIn = (body: string): number => (JSON.parse(body) as Body).resourceSpans[0]?.scopeSpans[0]?.spans.length ?? 0

t.test('a span goes on with the trace of its call, in the form of OTLP with JSON', async (t) => {
  const random = seeded(1)
  const span = spanOf(call(), CONTEXT, random)
  t.match(span, {
    traceId: TRACE,
    parentSpanId: PARENT,
    spanId: /^[0-9a-f]{16}$/,
    name: 'shop.v1.Orders/Get',
    kind: 1,
    startTimeUnixNano: '1893456000098500000',
    endTimeUnixNano: '1893456000100000000',
    attributes: [
      { key: 'rpc.system', value: { stringValue: 'grpc' } },
      { key: 'rpc.service', value: { stringValue: 'shop.v1.Orders' } },
      { key: 'rpc.method', value: { stringValue: 'Get' } },
      { key: 'rpc.grpc.status_code', value: { intValue: '0' } },
    ],
  })
  t.notMatch(span, { status: {} })
  t.match(spanOf(call({ status: 14, reason: 'NO_ENDPOINT' }), CONTEXT, random), {
    status: { code: 2, message: 'NO_ENDPOINT' },
  })
  t.notMatch(spanOf(call({ status: 5 }), CONTEXT, random), { status: {} }, 'what a caller did wrong is no fault')
  t.equal(spanOf(call({ traceparent: '' }), CONTEXT, random), undefined)
  t.match(JSON.parse(tracesBody([{}], CONTEXT)), {
    resourceSpans: [
      {
        resource: {
          attributes: [
            { key: 'service.name', value: { stringValue: 'hsu' } },
            { key: 'service.instance.id', value: { stringValue: 'id-a' } },
            { key: 'host.name', value: { stringValue: 'a' } },
          ],
        },
        scopeSpans: [{ scope: { name: 'hsu', version: '1.2.3' }, spans: [{}] }],
      },
    ],
  })
})

/** An exporter whose collector is in the hand of the test. */
async function rig(t: Test, answer: () => Promise<Partial<PostAnswer>>) {
  const clock = new SimClock()
  const log = memoryLog()
  const sent: number[] = []
  const post: JsonPost = {
    send: async (body) => {
      sent.push(spansIn(body))
      return { status: 200, text: '{}', retryAfterMs: 0, ...(await answer()) }
    },
    close: () => undefined,
  }
  let tell: (ended: EndedCalls) => void = () => undefined
  const watch = (interest: object, listener: (ended: EndedCalls) => void): (() => void) => {
    t.match(interest, { share: 0, failed: false, traced: true })
    tell = listener
    return () => undefined
  }
  const spans = createSpanExport({ clock, random: seeded(1), log, watch, post }, CONTEXT)
  await spans.start()
  const ended = (calls: number, lost = 0): void => tell({ calls: Array.from({ length: calls }, () => call()), lost })
  return { clock, log, sent, spans, ended, messages: () => log.entries.map(({ message }) => message) }
}

t.test('spans are sent together, so many in a request', async (t) => {
  const { clock, sent, spans, ended, log } = await rig(t, async () => ({}))
  ended(600)
  t.same(sent, [])
  await clock.advance(1_000)
  t.same(sent, [512, 88])
  ended(3)
  await spans.stop()
  t.same(sent, [512, 88, 3], 'the last ones at the end')
  t.same(log.entries, [])
})

t.test('a collector that is away gets them later, up to a bound; what is lost is told', async (t) => {
  let status = 503
  const { clock, sent, spans, ended, messages, log } = await rig(t, async () => ({ status, retryAfterMs: 5_000 }))
  ended(2)
  await clock.advance(5_500)
  t.same(sent, [2], 'not before it said')
  ended(9_000)
  status = 200
  await clock.advance(5_000)
  t.equal(
    sent.slice(1).reduce((sum, count) => sum + count, 0),
    8_192,
  )
  t.equal(messages()[0], 'traces cannot be sent, which is tried again')
  t.ok(messages().includes('traces are sent again'))
  t.match(
    log.entries.find(({ message }) => message === 'spans are lost'),
    { fields: { lost: 810 } },
  )
  await spans.stop()
})

t.test('what a collector refuses is not sent again', async (t) => {
  const { clock, sent, spans, ended, messages } = await rig(t, async () => ({ status: 400, text: 'bad span' }))
  ended(2)
  await clock.advance(10_000)
  await spans.stop()
  t.same(sent, [2])
  t.same(messages(), ['the collector refuses spans', 'spans are lost'])
})

t.test('a collector that does not answer holds up neither the rest nor the end', async (t) => {
  const { clock, sent, spans, ended, messages } = await rig(t, () => new Promise(() => undefined))
  ended(1)
  await clock.advance(1_000)
  t.same(sent, [1])
  await clock.advance(10_000)
  t.same(messages(), ['traces cannot be sent, which is tried again'])
  const stopped = spans.stop()
  await clock.advance(2_000)
  await stopped
  t.match(messages(), ['traces cannot be sent, which is tried again', 'spans are lost'])
})

t.test('a real collector over HTTP', async (t) => {
  const seen: { url: string | undefined; type: string | undefined; token: string | undefined; body: string }[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { headers, url } = request
      seen.push({
        url,
        type: headers['content-type'],
        token: headers.authorization,
        body: Buffer.concat(parts).toString(),
      })
      response.writeHead(429, { 'retry-after': '7' }).end('slow down')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const post = jsonPost(`http://127.0.0.1:${port}/v1/traces`, { authorization: 'token' })
  t.teardown(() => {
    post.close()
    server.close()
  })
  const answer = await post.send('{"a":"é"}', new AbortController().signal)
  t.same(answer, { status: 429, text: 'slow down', retryAfterMs: 7_000 })
  t.same(seen, [{ url: '/v1/traces', type: 'application/json', token: 'token', body: '{"a":"é"}' }])
})
