import { createServer } from 'node:net'
import { join } from 'node:path'
import { create, type DescService, type JsonValue, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { type sendUnaryData, Server, type ServerWritableStream, type ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import t, { type Test } from 'tap'
import { HsuError } from '../../src/base/error.ts'
import { file_hsu_control_v1_control } from '../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { CoreService } from '../../src/rpc/gen/compat/core_pb.ts'
import { EchoService, file_echo_v1_echo } from '../../src/rpc/gen/echo/v1/echo_pb.ts'
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { UnitService } from '../../src/rpc/gen/hsu/unit/v1/unit_pb.ts'
import { connect, ControlService, createDynamicCaller, createGrpcProber, implement } from '../../src/rpc/index.ts'
import { listen, reflectionOf, startGrpcServer } from '../support/grpc-server.ts'
import { repoRoot } from '../support/paths.ts'
import { throwsReason } from '../support/throws-reason.ts'

const { signal } = new AbortController()

function prober(t: Test) {
  const made = createGrpcProber()
  t.teardown(() => made.close())
  return made
}

function health(status: Serving) {
  return implement(Health, {
    async check({ service }) {
      if (service === 'known' || service === '') return { status }
      throw new HsuError('UNIT_NOT_FOUND', 'unknown service')
    },
  })
}

t.test('the ladder stands on the first rung that is offered', async (t) => {
  const refusing = async (): Promise<never> => {
    throw new HsuError('NO_ENDPOINT', 'the database is away')
  }
  const cases = [
    [
      'hsu.unit.v1',
      [implement(UnitService, { getInfo: async () => ({ name: 'x' }) }), health(Serving.NOT_SERVING)],
      true,
    ],
    ['hsu.unit.v1 that fails', [implement(UnitService, { getInfo: refusing }), health(Serving.SERVING)], false],
    ['hsu.unit.v1 without GetInfo, health', [implement(UnitService, {}), health(Serving.SERVING)], true],
    ['health', [health(Serving.SERVING)], true],
    [
      'health that does not serve',
      [health(Serving.NOT_SERVING), implement(CoreService, { ping: async () => ({}) })],
      false,
    ],
    ['ping', [implement(CoreService, { ping: async () => ({}) })], true],
    ['ping that fails', [implement(CoreService, { ping: refusing })], false],
    ['nothing but a business service', [implement(EchoService, {})], true],
    ['nothing at all', [], true],
  ] as const
  for (const [name, services, passing] of cases) {
    const address = await startGrpcServer(t, services)
    const asked = prober(t)
    t.equal(await asked.check(address, 'ladder', signal), passing, name)
    t.equal(await asked.check(address, 'ladder', signal), passing, `${name}, asked again`)
  }
})

t.test('the rung of an address is remembered, until it fails', async (t) => {
  let infos = 0
  let well = true
  let unit = false
  const address = await startGrpcServer(t, [
    implement(UnitService, {
      async getInfo() {
        infos += 1
        if (unit) return {}
        throw new HsuError('UNSUPPORTED', 'not yet')
      },
    }),
    implement(Health, { check: async () => ({ status: well ? Serving.SERVING : Serving.NOT_SERVING }) }),
  ])
  const asked = prober(t)
  for (let count = 0; count < 3; count += 1) t.ok(await asked.check(address, 'ladder', signal))
  t.equal(infos, 1, 'asked once')
  well = false
  t.notOk(await asked.check(address, 'ladder', signal))
  unit = true
  t.ok(await asked.check(address, 'ladder', signal), 'from the first rung again')
  t.equal(infos, 2)
})

t.test('a probe can name what it asks', async (t) => {
  const address = await startGrpcServer(t, [
    health(Serving.SERVING),
    implement(EchoService, { echo: async () => ({}) }),
  ])
  const asked = prober(t)
  t.ok(await asked.check(address, '', signal))
  t.ok(await asked.check(address, 'known', signal))
  t.notOk(await asked.check(address, 'unknown', signal))
  t.ok(await asked.check(address, '/echo.v1.EchoService/Echo', signal))
  t.notOk(await asked.check(address, '/echo.v1.EchoService/Join', signal), 'not offered is not passing')
  t.notOk(await asked.check(address, '/no.such.Service/Method', signal))
})

t.test('no answer is failing', async (t) => {
  const silent = createServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const sockets = new Set<{ destroy(): void }>()
  silent.on('connection', (socket) => sockets.add(socket))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const asked = prober(t)
  const { port } = silent.address() as { port: number }
  for (const what of ['ladder', '', '/a.B/C']) {
    t.notOk(
      await asked.check(`127.0.0.1:${port}`, what, AbortSignal.timeout(100)),
      `'${what}' of a server that is silent`,
    )
    t.notOk(await asked.check('127.0.0.1:1', what, signal), `'${what}' where nothing listens`)
    t.notOk(await asked.check('unix:/no/such.sock', what, signal), `'${what}' of a socket that is not there`)
    t.notOk(await asked.check('127.0.0.1:1', what, AbortSignal.abort()), 'given up before it began')
  }
  await throwsReason(t, 'NODE_UNREACHABLE', () => asked.services('127.0.0.1:1', signal))
})

t.test('close ends a check that is under way', async (t) => {
  const address = await startGrpcServer(t, [
    implement(EchoService, { echo: () => new Promise<never>(() => undefined) }),
  ])
  const asked = prober(t)
  const checking = asked.check(address, '/echo.v1.EchoService/Echo', signal)
  asked.close()
  t.notOk(await checking)
})

t.test('the services of a unit are found by either version of reflection', async (t) => {
  const described: readonly DescService[] = [EchoService, UnitService, Health, ControlService, CoreService]
  const asked = prober(t)
  for (const version of ['v1', 'v1alpha'] as const) {
    const address = await startGrpcServer(t, reflectionOf(described, version))
    t.same(await asked.services(address, signal), ['echo.v1.EchoService', 'hsu.control.v1.ControlService'], version)
  }
  t.same(await asked.services(await startGrpcServer(t, [health(Serving.SERVING)]), signal), [], 'not offered')
})

const echo = implement(EchoService, {
  echo: async ({ message }, { metadata }) => ({ message, node: metadata('hsu-node') ?? '' }),
  async *repeat({ message, count }) {
    for (let number = 1; number <= count; number += 1) yield { message, number }
  },
  async join(requests) {
    const words: string[] = []
    for await (const { message } of requests) words.push(message)
    return { message: words.join(' ') }
  },
  async *chat(requests) {
    for await (const { message } of requests) yield { message: `re: ${message}` }
  },
})

async function collect(answers: AsyncIterable<JsonValue>): Promise<JsonValue[]> {
  const all: JsonValue[] = []
  for await (const answer of answers) all.push(answer)
  return all
}

/** A dynamic caller of a server that describes `EchoService` as told. */
async function dynamic(t: Test, version: 'v1' | 'v1alpha' | 'none', descriptors?: Uint8Array) {
  const reflection = version === 'none' ? [] : reflectionOf([EchoService, ControlService], version)
  const connection = connect(await startGrpcServer(t, [echo, ...reflection]))
  t.teardown(() => connection.close())
  return createDynamicCaller(connection, descriptors === undefined ? {} : { descriptors })
}

const echoSet = toBinary(
  FileDescriptorSetSchema,
  // The imports last: their order must not matter, and those of protobuf itself may be missing.
  create(FileDescriptorSetSchema, { file: [file_hsu_control_v1_control.proto, file_echo_v1_echo.proto] }),
)

t.test('a dynamic call', async (t) => {
  for (const [name, version, descriptors] of [
    ['by reflection v1', 'v1', undefined],
    ['by reflection v1alpha', 'v1alpha', undefined],
    ['with descriptors', 'none', echoSet],
  ] as const) {
    t.test(`takes and gives JSON, for all four kinds, ${name}`, async (t) => {
      const caller = await dynamic(t, version, descriptors)
      const call = (method: string, json: string, options = {}) =>
        collect(caller.call(`echo.v1.EchoService/${method}`, json, options))

      t.same(await call('Echo', '{"message": "hé"}'), [{ message: 'hé' }])
      t.same(await call('Echo', '', { metadata: { 'hsu-node': 'b' } }), [{ node: 'b' }], 'metadata goes along')
      t.same(await call('Repeat', '{"message":"x","count":2}'), [
        { message: 'x', number: 1 },
        { message: 'x', number: 2 },
      ])
      t.same(await call('Join', '[{"message":"a"},{"message":"b"}]'), [{ message: 'a b' }], 'an array')
      t.same(await call('Join', '{"message":"a"}\n\n{"message":"b"}\n'), [{ message: 'a b' }], 'lines')
      t.same(await call('Join', '{\n"message":\n"a"\n}'), [{ message: 'a' }], 'one over several lines')
      t.same(await call('Join', ''), [{}], 'none')
      t.same(await call('Chat', '[{"message":"a"},{"message":"b"}]'), [{ message: 're: a' }, { message: 're: b' }])
      t.ok((await caller.services()).includes('echo.v1.EchoService'))
    })
  }

  t.test('copes with what Node servers say of themselves with @grpc/reflection', async (t) => {
    const definition = loadSync('hsu/control/v1/control.proto', { includeDirs: [join(repoRoot, 'proto')] })
    const server = new Server()
    const service = definition['hsu.control.v1.ControlService'] as ServiceDefinition
    server.addService(service, {
      getNode: (_call: unknown, callback: sendUnaryData<unknown>) =>
        callback(null, { dataDir: '/x', startedAt: { seconds: 1 }, node: { node: 'a', labels: { os: 'linux' } } }),
      streamLogs(call: ServerWritableStream<{ tail: number }, unknown>) {
        call.write({ line: { line: Buffer.from('a'), stream: `${call.request.tail}` } })
        call.end()
      },
    })
    new ReflectionService(definition).addToServer(server)
    const connection = connect(await listen(t, server))
    t.teardown(() => connection.close())
    const call = (method: string, json: string) =>
      collect(createDynamicCaller(connection).call(`hsu.control.v1.ControlService/${method}`, json))

    t.same(await call('GetNode', '{}'), [
      { dataDir: '/x', startedAt: '1970-01-01T00:00:01Z', node: { node: 'a', labels: { os: 'linux' } } },
    ])
    const request = '{"tail": 7, "since": "2020-01-01T00:00:00Z", "scope": "SCOPE_MESH"}'
    t.same(await call('StreamLogs', request), [{ line: { line: 'YQ==', stream: '7' } }])
  })

  t.test('says what is wrong with it', async (t) => {
    const caller = await dynamic(t, 'v1')
    const call =
      (method: string, json = '{}') =>
      () =>
        collect(caller.call(method, json))
    for (const name of ['Echo', 'a/b/c', '/', 'echo.v1.EchoService/']) await throwsReason(t, 'USAGE', call(name))
    const service = await throwsReason(t, 'SERVICE_NOT_FOUND', call('no.such.Service/Get'))
    t.match(service?.message, 'known: echo.v1.EchoService, grpc.reflection.v1.ServerReflection, hsu.control.v1')
    const method = await throwsReason(t, 'USAGE', call('echo.v1.EchoService/Ecco'))
    t.match(method?.message, "has no method 'Ecco'; it has: Echo, Repeat, Join, Chat")
    const json = await throwsReason(t, 'USAGE', call('echo.v1.EchoService/Echo', '{message: 1}'))
    t.match(json?.message, 'the request is not JSON')
    const field = await throwsReason(t, 'USAGE', call('echo.v1.EchoService/Echo', '{"massage": ""}'))
    t.match(field?.message, 'massage')
    await throwsReason(t, 'USAGE', call('echo.v1.EchoService/Echo', '[{},{}]'))
    await throwsReason(t, 'UNSUPPORTED', call('hsu.control.v1.ControlService/GetNode'))
  })

  t.test('asks for descriptors when the server describes nothing', async (t) => {
    const caller = await dynamic(t, 'none')
    const error = await throwsReason(t, 'UNSUPPORTED', () => collect(caller.call('echo.v1.EchoService/Echo', '{}')))
    t.match(error?.message, /does not offer server reflection; pass --descriptor FILE, made by 'buf build -o FILE'/)
  })

  t.test('refuses descriptors that are none', async (t) => {
    const connection = connect('127.0.0.1:1')
    t.teardown(() => connection.close())
    const descriptors = Buffer.from('not a descriptor set')
    await throwsReason(t, 'USAGE', () => createDynamicCaller(connection, { descriptors }))
  })

  t.test('ends when its caller leaves', async (t) => {
    const caller = await dynamic(t, 'v1')
    for await (const answer of caller.call('echo.v1.EchoService/Repeat', '{"count": 1000000}')) {
      t.match(answer, { number: 1 })
      break
    }
  })
})
