import t from 'tap'
import { formatAddress, parseAddress } from '../../../src/rpc/address.ts'
import { routeSchema } from '../../../src/rpc/config.ts'
import { DEFAULT_ROUTE } from '../../../src/rpc/default-route.ts'
import { findInstance } from '../../../src/rpc/endpoint-source.ts'
import { answerFields, formatTimeout, notGrpcFields, parseTimeoutMs } from '../../../src/rpc/grpc-answer.ts'
import { makeField } from '../../../src/rpc/h2/field.ts'
import { createLogLimiter } from '../../../src/rpc/log-limiter.ts'
import { CallHead } from '../../../src/rpc/relay/call-head.ts'
import { createResetGuard } from '../../../src/rpc/reset-guard.ts'
import { match, noEndpoint, type Wanted, wantedFrom } from '../../../src/rpc/router/route.ts'
import { HsuError } from '../../../src/base/error.ts'
import { endpoint, literalWorld } from '../../support/literal-world.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const world = literalWorld(
  {
    endpoint: endpoint({ unit: 'api', instance: 'api-0-aaaaaa', nodeId: 'n1', node: 'edge-a', version: '1' }),
    services: ['shop.v1.Orders'],
  },
  {
    endpoint: endpoint({ unit: 'api', instance: 'api-1-bbbbbb', nodeId: 'n2', node: 'edge-b', version: '2' }),
    services: ['shop.v1.Orders'],
  },
  {
    endpoint: endpoint({ unit: 'api-v2', instance: 'api-v2-0-cccccc', nodeId: 'n2', node: 'edge-b' }),
    services: ['shop.v1.Orders', 'shop.v2.Orders'],
  },
  {
    endpoint: endpoint({ unit: 'silent', instance: 'silent-0-dddddd', nodeId: 'n1', node: 'edge-a', ready: false }),
    services: [],
  },
)

const REFLECTION = 'grpc.reflection.v1.ServerReflection'
const nothing = { unit: undefined, node: undefined, instance: undefined, version: undefined, authority: undefined }

function found(wanted: Partial<Wanted> & { service: string }): string[] {
  return match({ ...nothing, ...wanted }, world).endpoints.map(({ instance }) => instance)
}

/** The head of a call with these fields, each written `name=value`. */
function read(texts: readonly string[]): { head: CallHead; sound: boolean } {
  const fields = texts.map((text) => makeField(text.split('=')[0] ?? '', text.split('=')[1] ?? ''))
  const head = new CallHead()
  head.read(fields, fields.length)
  return { head, sound: head.sound }
}

t.test('what a call asks for is read from its head', async (t) => {
  const start = [':method=POST', ':scheme=http', ':authority=api:9470']
  const { head } = read([...start, ':path=/shop.v1.Orders/Get', 'hsu-node=edge-a', 'hsu-node=edge-b'])
  t.same(wantedFrom(head), { ...nothing, service: 'shop.v1.Orders', authority: 'api', node: 'edge-a' })
  for (const path of ['', '/', '/only', 'shop/Get', '/a/b/c', '//x', '/x/']) {
    await throwsReason(t, 'SERVICE_NOT_FOUND', () => wantedFrom(read([...start, `:path=${path}`]).head))
  }
})

t.test('match', async (t) => {
  t.test('by the service', async (t) => {
    t.same(found({ service: 'shop.v1.Orders' }), ['api-0-aaaaaa', 'api-1-bbbbbb', 'api-v2-0-cccccc'])
    t.same(found({ service: 'shop.v2.Orders' }), ['api-v2-0-cccccc'])
  })

  t.test('narrowed by unit, node (name or id), instance and version', async (t) => {
    const service = 'shop.v1.Orders'
    t.same(found({ service, unit: 'api' }), ['api-0-aaaaaa', 'api-1-bbbbbb'])
    t.same(found({ service, node: 'edge-b' }), ['api-1-bbbbbb', 'api-v2-0-cccccc'])
    t.same(found({ service, node: 'n1' }), ['api-0-aaaaaa'])
    t.same(found({ service, instance: 'api-1-bbbbbb' }), ['api-1-bbbbbb'])
    t.same(found({ service, version: '2' }), ['api-1-bbbbbb'])
    t.same(found({ service, unit: 'api', node: 'edge-a', version: '2' }), [])
  })

  t.test('a service the registry does not know, by unit, instance or authority', async (t) => {
    t.same(found({ service: REFLECTION, unit: 'silent' }), ['silent-0-dddddd'])
    t.same(found({ service: REFLECTION, instance: 'api-v2-0-cccccc' }), ['api-v2-0-cccccc'])
    t.same(found({ service: REFLECTION, instance: 'nobody-0-eeeeee' }), [])
    t.same(found({ service: REFLECTION, authority: 'api-v2' }), ['api-v2-0-cccccc'])
    t.same(found({ service: REFLECTION, authority: 'shop.v2.Orders' }), ['api-v2-0-cccccc'])
  })

  t.test('an authority narrows a known service, but never to nothing', async (t) => {
    t.same(found({ service: 'shop.v1.Orders', authority: 'api-v2' }), ['api-v2-0-cccccc'])
    t.same(found({ service: 'shop.v1.Orders', authority: 'localhost' }).length, 3)
    t.same(found({ service: 'shop.v2.Orders', authority: 'api' }), ['api-v2-0-cccccc'])
  })

  t.test('what is unknown is told with what is known, within bounds', async (t) => {
    const error = await throwsReason(t, 'SERVICE_NOT_FOUND', () => found({ service: REFLECTION }))
    t.equal(error?.message, `no unit offers '${REFLECTION}'; known: shop.v1.Orders, shop.v2.Orders`)
    await throwsReason(t, 'SERVICE_NOT_FOUND', () => found({ service: REFLECTION, authority: '127.0.0.1' }))
    await throwsReason(t, 'UNIT_NOT_FOUND', () => found({ service: 'shop.v1.Orders', unit: 'nobody' }))
    const services = Array.from({ length: 500 }, (_, at) => `${'x'.repeat(300)}.S${at}`)
    const many = literalWorld({ endpoint: endpoint(), services })
    const long = await throwsReason(t, 'SERVICE_NOT_FOUND', () =>
      match({ ...nothing, service: 'y'.repeat(9_000) }, many),
    )
    t.ok((long?.message.length ?? 0) < 1_500)
    t.match(long?.message, /and 490 more$/)
  })

  t.test('nothing ready is told with what was asked', async (t) => {
    const matched = match({ ...nothing, service: 'shop.v1.Orders', node: 'edge-b', version: '9' }, world)
    t.equal(
      noEndpoint(matched).message,
      "no ready endpoint for 'shop.v1.Orders' version '9' on node 'edge-b' (0 known)",
    )
  })
})

t.test('an instance is found with and without its unit', async (t) => {
  t.equal(findInstance(world, 'api-v2-0-cccccc')?.unit, 'api-v2')
  t.equal(findInstance(world, 'api-0-aaaaaa', 'api')?.unit, 'api')
  t.equal(findInstance(world, 'api-0-aaaaaa', 'silent'), undefined)
  t.equal(findInstance(world, 'plain'), undefined)
})

t.test('the head of a call', async (t) => {
  const call = [':method=POST', ':scheme=http', ':path=/x.Y/Z']
  const sound: readonly (readonly string[])[] = [
    call,
    [...call, 'te=trailers', 'content-length=12', 'x=', '__proto__=polluted', 'hsu-unit=api'],
    [':scheme=https', ':authority=api', ':method=GET', ':path=/x.Y/Z', 'cookie=a', 'cookie=b'],
  ]
  const malformed: readonly (readonly string[])[] = [
    [],
    call.slice(1),
    [...call, ':path=/again'],
    ['x=1', ...call],
    [...call, ':status=200'],
    [...call, ':unknown=1'],
    [...call, 'connection=close'],
    [...call, 'te=gzip'],
    [...call, 'content-length=ten'],
    [...call, 'Upper=1'],
    [...call, 'bad name=1'],
    [':method=POST', ':scheme=http', ':path='],
  ]
  for (const texts of sound) t.ok(read(texts).sound, texts.join(' '))
  for (const texts of malformed) t.notOk(read(texts).sound, texts.join(' '))
  const { head } = read([...call, 'hsu-unit=api', 'hsu-unit=other'])
  t.ok(head.steered)
  t.equal(head.text('hsu-unit'), 'api')
  t.equal(head.text('absent'), undefined)
})

t.test('the route of a unit that says nothing is what the schema makes of nothing', async (t) => {
  t.same(DEFAULT_ROUTE, routeSchema.parse({}))
})

t.test('answers of our own', async (t) => {
  const error = new HsuError('NO_ENDPOINT', 'nö % endpoint', { details: { service: 'x' } })
  const fields = answerFields(error)
  t.match(fields, {
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': '14',
    'grpc-message': 'n%C3%B6 %25 endpoint',
  })
  t.ok(fields['grpc-status-details-bin'])
  t.equal(notGrpcFields(error)[':status'], 415)
})

t.test('timeouts', async (t) => {
  for (const [text, ms] of [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['4m', 4],
    ['5000u', 5],
    ['6000000n', 6],
  ] as const) {
    t.equal(parseTimeoutMs(text), ms)
  }
  for (const text of ['', '1', 'S', '1s', '123456789S', '-1S', '1.5S']) t.equal(parseTimeoutMs(text), undefined, text)
  t.equal(formatTimeout(2_000), '2000m')
  t.equal(formatTimeout(0.2), '1m')
  t.equal(formatTimeout(200_000_000), '200000S')
})

t.test('addresses', async (t) => {
  t.same(parseAddress('127.0.0.1:80'), { host: '127.0.0.1', port: 80 })
  t.same(parseAddress('[::1]:80'), { host: '::1', port: 80 })
  t.same(parseAddress('unix:/run/x.sock'), { path: '/run/x.sock' })
  t.equal(formatAddress('::1', 80), '[::1]:80')
  for (const wrong of ['x', 'x:', 'x:99999', '::1:80'])
    await throwsReason(t, 'CONFIG_INVALID', () => parseAddress(wrong))
})

t.test('route options', async (t) => {
  t.match(DEFAULT_ROUTE, {
    policy: 'least-request',
    prefer: 'host',
    retries: 2,
    spill_over: 100,
    methods: {},
    limits: {},
  })
  t.match(routeSchema.parse({ timeout: '2s', prefer: 'none', retries: 0 }), {
    prefer: 'none',
    retries: 0,
    timeout: 2_000,
  })
  const fault = (route: object): string => routeSchema.safeParse(route).error?.issues[0]?.message ?? ''
  t.match(fault({ policy: 'consistent-hash' }), /is required for policy: consistent-hash/)
  t.match(fault({ hash_on: 'x-user' }), /is only for policy: consistent-hash/)
  t.match(fault({ methods: { Get: {} } }), /Invalid key/)
  t.not(fault({ retries: 6 }), '')
})

t.test('a connection that mostly resets its calls is found out', async (t) => {
  const bad = createResetGuard()
  let found = 0
  for (let at = 1; at <= 1_000 && found === 0; at += 1) {
    bad.opened()
    if (bad.reset(5)) found = at
  }
  t.equal(found, 500)

  const fair = createResetGuard()
  for (let at = 0; at < 10_000; at += 1) {
    fair.opened()
    if (at % 3 === 0 && fair.reset(5)) t.fail('a third of the calls may be reset')
  }

  const patient = createResetGuard()
  for (let at = 0; at < 10_000; at += 1) {
    patient.opened()
    if (patient.reset(1_001)) t.fail('a call that ran into its deadline counts for nothing')
  }
})

t.test('a complaint is made once a minute for each key', async (t) => {
  const clock = new SimClock()
  const maySay = createLogLimiter(clock, 60_000)
  t.same([maySay('a'), maySay('a'), maySay('b')], [true, false, true])
  await clock.advance(60_000)
  t.ok(maySay('a'))
})
