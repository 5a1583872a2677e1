import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import t from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { createControlFront } from '../../src/rpc/control-front.ts'
import {
  changingCertificate,
  createLinkCertificate,
  fingerprintOf,
  type LinkCertificate,
} from '../../src/rpc/link-certificate.ts'
import type { LinkTarget } from '../../src/rpc/target.ts'
import { DEFAULT_ROUTE } from '../../src/rpc/default-route.ts'
import { createLinkServer, type LinkServer } from '../../src/rpc/link-server.ts'
import { createInFlight } from '../../src/rpc/router/in-flight.ts'
import {
  answerOf,
  echo,
  framed,
  grpcBackend,
  grpcClient,
  openRaw,
  type Rig,
  rawBackend,
  rawClient,
  respondGrpc,
  startIngress,
  statusOf,
  valuesOf,
} from '../support/call-rig.ts'
import { echoAt, type LiteralWorld, literalWorld, SERVICE } from '../support/literal-world.ts'
import { type MemoryLog, memoryLog } from '../support/memory-log.ts'
import { until } from '../support/until.ts'

const HELLO = Buffer.from('hello')

/** Two nodes, `self` and `other`, whose links know each other. */
interface Pair {
  readonly certificates: Readonly<Record<'self' | 'other' | 'stranger', LinkCertificate>>
  /** The world of both. */
  readonly world: LiteralWorld
  readonly link: LinkServer
  readonly log: MemoryLog
  /** Members by fingerprint. */
  readonly members: Map<string, string>
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
  apiSocket: string
}

const fast = {
  ...systemClock,
  nowMs: () => systemClock.nowMs() * 10,
  sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 10, signal),
}

async function pair(t: Rig): Promise<Pair> {
  const make = (name: string): Promise<LinkCertificate> => createLinkCertificate(systemClock, name)
  const certificates = { self: await make('self'), other: await make('other'), stranger: await make('stranger') }
  const members = new Map([
    [certificates.self.fingerprint, 'self'],
    [certificates.other.fingerprint, 'other'],
  ])
  const directory = await mkdtemp(join(tmpdir(), 'hsu-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const apiSocket = join(directory, 'api.sock')
  const world = literalWorld()
  const log = memoryLog()
  const link = createLinkServer(
    { clock: systemClock, log, endpoints: world, isMember: (fingerprint) => members.get(fingerprint) },
    { listen: '127.0.0.1:0', nodeId: 'other', certificate: certificates.other, controlSocket: apiSocket, graceMs: 100 },
  )
  t.teardown(() => link.stop())
  await link.start()
  const linkOf = (nodeId: string): LinkTarget | undefined =>
    nodeId === 'other'
      ? { nodeId, addresses: ['127.0.0.1:1', link.address()], fingerprint: certificates.other.fingerprint }
      : undefined
  return { certificates, world, link, log, members, linkOf, apiSocket }
}

const onOther = (address: string, values: object = {}): LiteralWorld['entries'][number] =>
  echoAt(address, { nodeId: 'other', node: 'there', ...values })

t.test('certificates of both ends are replaced in the middle of calls, and none fails', async (t) => {
  const make = (name: string): Promise<LinkCertificate> => createLinkCertificate(systemClock, name)
  const [first, second] = [await make('first'), await make('second')]
  const other = changingCertificate(first)
  const self = changingCertificate(await make('self'))
  const nextSelf = await make('next self')
  const members = new Set([self.certificate.fingerprint, nextSelf.fingerprint])
  const world = literalWorld()
  const { clock, log } = { clock: systemClock, log: memoryLog() }
  const link = createLinkServer(
    { clock, log, endpoints: world, isMember: (print) => (members.has(print) ? 'self' : undefined) },
    { listen: '127.0.0.1:0', nodeId: 'other', certificate: other.certificate, controlSocket: '/none', graceMs: 100 },
  )
  t.teardown(() => link.stop())
  await link.start()
  const backend = await grpcBackend(t, { Bidi: echo, Unary: echo })
  world.entries = [onOther(backend.address)]
  let record = { fingerprint: first.fingerprint, further: [second.fingerprint] }
  const linkOf = (nodeId: string): LinkTarget => ({ nodeId, addresses: [link.address()], ...record })
  const ingress = await startIngress(t, world, { linkOf }, { certificate: self.certificate })
  const client = grpcClient(t, ingress.address())
  const asIs = (bytes: Buffer): Buffer => bytes
  const long = client.client.makeBidiStreamRequest(`/${SERVICE}/Bidi`, asIs, asIs, new Metadata())
  const answers: string[] = []
  long.on('data', (bytes: Buffer) => answers.push(bytes.toString()))
  const ended = new Promise<number>((resolve) => long.on('status', ({ code }) => resolve(code)))
  const codes: number[] = []
  const call = async (): Promise<void> => {
    const result = await client.call('Unary', [Buffer.from('hi')])
    codes.push(result.status.code)
  }
  const say = async (word: string): Promise<void> => {
    long.write(Buffer.from(word))
    await until(`the answer to ${word}`, () => answers.includes(word))
  }
  await call()
  await say('before')
  // The next one is shown while the record still names the one before first; both ends hear of it later.
  other.show(second)
  self.show(nextSelf)
  await Promise.all([call(), call()])
  await say('shown')
  record = { fingerprint: second.fingerprint, further: [first.fingerprint] }
  await Promise.all([call(), call()])
  await say('announced')
  record = { fingerprint: second.fingerprint, further: [] }
  await call()
  await say('alone')
  long.end()
  t.equal(await ended, status.OK)
  t.same(
    codes,
    codes.map(() => status.OK),
  )
  const tls = connectTls({ port: Number(link.address().split(':').at(-1)), rejectUnauthorized: false })
  t.teardown(() => tls.destroy())
  await new Promise((resolve) => tls.once('secureConnect', resolve))
  t.equal(fingerprintOf(tls.getPeerX509Certificate()?.raw ?? Buffer.of()), second.fingerprint)
})

t.test('calls cross to the node that owns the instance', async (t) => {
  const { world, linkOf, certificates, link } = await pair(t)
  const seen: string[][] = []
  const backend = await grpcBackend(t, { Bidi: echo, Unary: echo })
  const raw = await rawBackend(t, (stream, _headers, fields) => {
    seen.push(fields)
    stream.resume()
    respondGrpc(stream, [framed(HELLO)], '0', { 'x-end': ['1', '2'] })
  })
  world.entries = [onOther(backend.address)]
  const ingress = await startIngress(t, world, { linkOf }, { certificate: certificates.self })
  const client = grpcClient(t, ingress.address())

  t.test('small, empty and large messages', async (t) => {
    for (const size of [100, 0, 8 << 20]) {
      const message = randomBytes(size)
      const result = await client.call('Unary', [message], { timeoutMs: 20_000 })
      t.equal(result.status.code, status.OK, result.status.details)
      t.ok(result.messages[0]?.equals(message), `${size} bytes come back`)
    }
  })

  t.test('messages in turn', async (t) => {
    const asIs = (bytes: Buffer): Buffer => bytes
    const call = client.client.makeBidiStreamRequest(`/${SERVICE}/Bidi`, asIs, asIs, new Metadata())
    for (let turn = 0; turn < 100; turn += 1) {
      call.write(Buffer.from(String(turn)))
      const [answer] = (await once(call, 'data')) as [Buffer]
      if (answer.toString() !== String(turn)) t.fail(`turn ${turn} answered with ${answer.toString()}`)
    }
    t.equal(ingress.inFlight('echo-0-aaaaaa'), 1)
    t.equal(link.inFlight('echo-0-aaaaaa'), 1)
    const ended = statusOf(call)
    call.end()
    t.equal((await ended).code, status.OK)
    await link.drained('echo-0-aaaaaa', new AbortController().signal)
  })

  t.test('metadata stays as it is', async (t) => {
    world.entries = [onOther(raw.address)]
    const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Meta`, {
      'a-key': ['v1', 'v2'],
      'hsu-node': 'there',
    })
    request.end()
    const answer = await answerOf(request)
    t.same(valuesOf(seen[0], 'a-key'), ['v1', 'v2'])
    t.same(
      seen[0]?.filter((name) => name.startsWith('hsu-')),
      [],
    )
    t.same(answer.trailers, ['grpc-status', '0', 'x-end', '1', 'x-end', '2'])
  })

  t.test('this host comes first', async (t) => {
    const local = await grpcBackend(t, {
      Unary: (call) => call.emit('error', { code: status.DATA_LOSS, details: 'local' }),
    })
    world.entries = [onOther(backend.address), echoAt(local.address, { instance: 'echo-1-bbbbbb' })]
    t.equal((await client.call('Unary', [HELLO])).status.code, status.DATA_LOSS)
    world.entries = [onOther(backend.address), echoAt(local.address, { instance: 'echo-1-bbbbbb', ready: false })]
    t.equal((await client.call('Unary', [HELLO])).status.code, status.OK)
  })
})

t.test('an instance that its owner has withdrawn costs no call while another is ready', async (t) => {
  const { certificates, link, linkOf } = await pair(t)
  const backend = await grpcBackend(t, { Unary: echo })
  // The ingress still believes in both; the owner, whose world is empty, in none.
  const world = literalWorld(
    onOther('127.0.0.1:1'),
    onOther(backend.address, { nodeId: 'third', instance: 'echo-1-bbbbbb' }),
  )
  const third = createLinkServer(
    { clock: systemClock, log: memoryLog(), endpoints: world, isMember: () => 'self' },
    {
      listen: '127.0.0.1:0',
      nodeId: 'third',
      certificate: certificates.stranger,
      controlSocket: '/nowhere',
      graceMs: 100,
    },
  )
  t.teardown(() => third.stop())
  await third.start()
  const toThird = { nodeId: 'third', addresses: [third.address()], fingerprint: certificates.stranger.fingerprint }
  const ingress = await startIngress(
    t,
    world,
    { linkOf: (nodeId) => (nodeId === 'third' ? toThird : linkOf(nodeId)) },
    { certificate: certificates.self },
  )
  const client = grpcClient(t, ingress.address())
  for (let at = 0; at < 10; at += 1) {
    const { status: ended } = await client.call('Unary', [HELLO])
    if (ended.code !== status.OK) t.fail(`${ended.code} ${ended.details}`)
  }
  world.entries = world.entries.slice(0, 1)
  const { status: ended } = await client.call('Unary', [HELLO])
  t.equal(ended.code, status.UNAVAILABLE)
  t.equal(ended.details, "instance 'echo-0-aaaaaa' on node 'there' did not take the call")
  t.ok(link)
})

t.test('fingerprints are checked on both sides', async (t) => {
  const { world, link, log, certificates, linkOf, members } = await pair(t)
  const reached: string[] = []
  const backend = await rawBackend(t, (stream, headers) => {
    reached.push(String(headers[':path']))
    stream.resume()
    respondGrpc(stream, [framed(HELLO)])
  })
  world.entries = [onOther(backend.address)]

  t.test('a server with another certificate gets no request', async (t) => {
    const wrong = { nodeId: 'other', addresses: [link.address()], fingerprint: certificates.stranger.fingerprint }
    const ingress = await startIngress(t, world, { linkOf: () => wrong }, { certificate: certificates.self })
    const { status: ended } = await grpcClient(t, ingress.address()).call('Unary', [HELLO])
    t.equal(ended.code, status.UNAVAILABLE)
    t.match(ended.details, /cannot reach node other: .*another certificate/)
    t.same(reached, [])
  })

  t.test('a stranger is not let in, and told of once', async (t) => {
    for (let at = 0; at < 3; at += 1) {
      const ingress = await startIngress(t, world, { linkOf }, { certificate: certificates.stranger })
      const { status: ended } = await grpcClient(t, ingress.address()).call('Unary', [HELLO])
      t.equal(ended.code, status.UNAVAILABLE)
      t.match(ended.details, /may not know this node yet/)
    }
    t.same(reached, [])
    const told = log.entries.filter(({ message }) => message === 'connection refused: not a member of the mesh')
    t.match(told, [{ level: 'warn', fields: { fingerprint: certificates.stranger.fingerprint } }])
    t.equal(told.length, 1)
  })

  t.test('a caller without a certificate, and garbage, are sent away', async () => {
    const [, port] = link.address().split(':')
    const bare = connectTls({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
    bare.on('error', () => undefined)
    bare.resume()
    await once(bare, 'close')
    const socket = connectTcp(Number(port), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(randomBytes(1_000))
    await once(socket, 'close')
  })

  t.test('members are let in, until they have left', async (t) => {
    const ingress = await startIngress(t, world, { linkOf }, { certificate: certificates.self })
    const client = grpcClient(t, ingress.address())
    t.equal((await client.call('Unary', [HELLO])).status.code, status.OK)
    members.delete(certificates.self.fingerprint)
    t.equal((await client.call('Unary', [HELLO])).status.code, status.UNAVAILABLE)
    t.equal(reached.length, 1)
  })

  t.test('a link takes no call for what it was not asked', async (t) => {
    members.set(certificates.self.fingerprint, 'self')
    const session = connectHttp2(`https://${link.address()}`, {
      cert: certificates.self.certPem,
      key: certificates.self.keyPem,
      rejectUnauthorized: false,
    })
    t.teardown(() => session.destroy())
    const request = openRaw(session, `/${SERVICE}/Unary`)
    request.end()
    t.same(valuesOf((await answerOf(request)).headers, 'grpc-status'), ['12'])
  })
})

t.test('a node in doubt about its caller costs no call while another endpoint is ready', async (t) => {
  const { world, members, certificates, linkOf } = await pair(t)
  const backend = await grpcBackend(t, { Unary: echo })
  world.entries = [onOther(backend.address)]
  const routeOf = () => ({ ...DEFAULT_ROUTE, prefer: 'none' }) as const
  const ingress = await startIngress(t, world, { linkOf, routeOf }, { certificate: certificates.self })
  const client = grpcClient(t, ingress.address())
  t.equal((await client.call('Unary', [HELLO])).status.code, status.OK)
  members.delete(certificates.self.fingerprint)
  world.entries = [onOther(backend.address), echoAt(backend.address, { instance: 'echo-1-bbbbbb' })]
  for (let at = 0; at < 20; at += 1) {
    const { status: ended } = await client.call('Unary', [HELLO])
    if (ended.code !== status.OK) t.fail(`${ended.code} ${ended.details}`)
  }
})

t.test('a node that is cut off loses its connections in the middle of a call, and others do not', async (t) => {
  const { world, certificates, link, members } = await pair(t)
  const backend = await rawBackend(t, (stream) => void stream.resume())
  world.entries = [onOther(backend.address)]
  members.set(certificates.stranger.fingerprint, 'third')
  const [doomed, spared] = [certificates.self, certificates.stranger].map(({ certPem: cert, keyPem: key }) => {
    const session = connectHttp2(`https://${link.address()}`, { cert, key, rejectUnauthorized: false })
    session.on('error', () => undefined)
    t.teardown(() => session.destroy())
    openRaw(session, `/${SERVICE}/Hang`, { 'hsu-unit': 'echo', 'hsu-instance': 'echo-0-aaaaaa' }).on(
      'error',
      () => undefined,
    )
    return session
  })
  await until('both calls are under way', () => link.inFlight('echo-0-aaaaaa') === 2)
  link.cut('self')
  await until('one is cut', () => doomed?.destroyed === true)
  await until('its call is over', () => link.inFlight('echo-0-aaaaaa') === 1)
  t.notOk(spared?.destroyed)
})

t.test('a link bears what calls on it do', async (t) => {
  const { world, certificates, log, link } = await pair(t)
  const timeouts: string[][] = []
  const backend = await rawBackend(t, (stream, _headers, fields) => {
    timeouts.push(valuesOf(fields, 'grpc-timeout'))
    stream.resume()
  })
  world.entries = [onOther(backend.address)]
  const to = { 'hsu-unit': 'echo', 'hsu-instance': 'echo-0-aaaaaa' }
  const linkTo = (address: string) => {
    const { certPem: cert, keyPem: key } = certificates.self
    const session = connectHttp2(`https://${address}`, { cert, key, rejectUnauthorized: false })
    session.on('error', () => undefined)
    t.teardown(() => session.destroy())
    return session
  }

  t.test('clients that reset most of their calls', async (t) => {
    const session = linkTo(link.address())
    for (let batch = 0; batch < 14 && !session.destroyed; batch += 1) {
      for (let at = 0; at < 50; at += 1) openRaw(session, `/${SERVICE}/Hang`, to).close(8)
      await pause(5)
    }
    openRaw(session, `/${SERVICE}/Hang`, to)
    await until('the link takes another', () => session.destroyed || link.inFlight('echo-0-aaaaaa') === 1)
    t.notOk(session.destroyed)
    t.same(log.entries, [])
  })

  t.test("the owner's route bounds calls that have no deadline", async (t) => {
    const routeOf = () => ({ ...DEFAULT_ROUTE, timeout: 150 })
    const bounded = createLinkServer(
      { clock: systemClock, log, endpoints: world, isMember: () => 'self', routeOf },
      { listen: '127.0.0.1:0', nodeId: 'other', certificate: certificates.other, controlSocket: '/nowhere' },
    )
    t.teardown(() => bounded.stop())
    await bounded.start()
    const session = linkTo(bounded.address())
    t.teardown(() => session.destroy())
    const request = openRaw(session, `/${SERVICE}/Hang`, to)
    request.end(framed(HELLO))
    const answer = await Promise.race([answerOf(request), pause(3_000, undefined, { ref: false })])
    t.same(valuesOf(answer?.headers, 'grpc-status'), ['4'])
    t.same(timeouts.at(-1), ['150m'])
  })
})

t.test('a host that falls silent fails its calls soon', async (t) => {
  const { world, link, certificates } = await pair(t)
  const backend = await rawBackend(t, (stream) => stream.resume())
  world.entries = [onOther(backend.address)]
  // A cable between the two that can be cut: bytes vanish, connections stay.
  let cut = false
  const cable = createTcpServer((near) => {
    const far = connectTcp(Number(link.address().split(':')[1]), '127.0.0.1')
    for (const socket of [near, far]) socket.on('error', () => undefined)
    near.on('data', (bytes) => cut || far.write(bytes))
    far.on('data', (bytes) => cut || near.write(bytes))
    near.on('close', () => far.destroy())
  })
  cable.listen(0, '127.0.0.1')
  await once(cable, 'listening')
  t.teardown(() => cable.close())
  const bound = cable.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  const target = { nodeId: 'other', addresses: [`127.0.0.1:${port}`], fingerprint: certificates.other.fingerprint }
  const ingress = await startIngress(
    t,
    world,
    { linkOf: () => target, clock: fast },
    { certificate: certificates.self },
  )
  const call = grpcClient(t, ingress.address()).call('Hang', [HELLO])
  await until('the call is there', () => link.inFlight('echo-0-aaaaaa') === 1)
  await pause(700)
  cut = true
  const startedAt = performance.now()
  const { status: ended } = await call
  t.equal(ended.code, status.UNAVAILABLE)
  t.ok(performance.now() - startedAt < 1_500, 'the clock of this test runs ten times as fast')
})

t.test('a link ends when its node has left', async (t) => {
  const { world, certificates, linkOf } = await pair(t)
  let left = false
  const backend = await grpcBackend(t, { Unary: echo })
  world.entries = [onOther(backend.address)]
  const inFlight = createInFlight()
  const seams = { linkOf: (nodeId: string) => (left ? undefined : linkOf(nodeId)), clock: fast, inFlight }
  const ingress = await startIngress(t, world, seams, { certificate: certificates.self })
  const client = grpcClient(t, ingress.address())
  t.equal((await client.call('Unary', [HELLO])).status.code, status.OK)
  left = true
  const { status: ended } = await until('it cannot be reached any more', async () => {
    const result = await client.call('Unary', [HELLO])
    return result.status.code === status.OK ? undefined : result
  })
  t.equal(ended.code, status.UNAVAILABLE)
  t.equal(inFlight.of('echo-0-aaaaaa'), 0)
})

t.test('the control front', async (t) => {
  const rig = await pair(t)
  const { certificates, linkOf, apiSocket } = rig
  const seen: { which: string; fields: string[] }[] = []
  const answering =
    (which: string) => (stream: Parameters<Parameters<typeof rawBackend>[1]>[0], _: unknown, fields: string[]) => {
      seen.push({ which, fields })
      stream.resume()
      respondGrpc(stream, [framed(Buffer.from(which))])
    }
  await rawBackend(t, answering('other'), { path: apiSocket })
  const ownSocket = `${apiSocket}.own`
  await rawBackend(t, answering('own'), { path: ownSocket })
  const socketPath = `${apiSocket}.control`
  const nodes = [
    { nodeId: 'other', name: 'there' },
    { nodeId: 'x1', name: 'twice' },
    { nodeId: 'x2', name: 'twice' },
  ]
  const front = createControlFront(
    {
      clock: systemClock,
      log: memoryLog(),
      linkOf,
      named: (name) => nodes.filter((node) => node.name === name || node.nodeId === name),
    },
    { socketPath, apiSocketPath: ownSocket, nodeId: 'self', nodeName: 'here', certificate: certificates.self },
  )
  t.teardown(() => front.stop())
  await front.start()
  const asIs = (bytes: Buffer): Buffer => bytes
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  t.teardown(() => client.close())
  const ask = async (path: string, node?: string) => {
    const metadata = new Metadata()
    if (node !== undefined) metadata.set('hsu-node', node)
    const call = client.makeBidiStreamRequest(path, asIs, asIs, metadata)
    const answers: string[] = []
    call.on('data', (bytes: Buffer) => answers.push(bytes.toString()))
    call.on('error', () => undefined)
    call.end()
    const { code, details } = await statusOf(call)
    return { code, details, answers }
  }

  t.equal((await stat(socketPath)).mode & 0o777, 0o600)
  for (const node of [undefined, 'self', 'here']) {
    t.match(await ask('/hsu.control.v1.ControlService/Get', node), { code: status.OK, answers: ['own'] })
  }
  for (const node of ['other', 'there']) {
    t.match(await ask('/hsu.control.v1.ControlService/Get', node), { code: status.OK, answers: ['other'] })
    t.match(await ask('/grpc.health.v1.Health/Check', node), { code: status.OK, answers: ['other'] })
  }
  t.same(
    seen.flatMap(({ fields }) => fields.filter((name) => name.startsWith('hsu-'))),
    [],
    'the API sees none of the routing',
  )
  t.match(await ask('/hsu.control.v1.ControlService/Get', 'nobody'), {
    code: status.NOT_FOUND,
    details: "no node 'nobody' in the mesh; see 'hsu nodes'",
  })
  t.match(await ask('/hsu.control.v1.ControlService/Get', 'x1'), { code: status.UNAVAILABLE })
  t.match(await ask('/hsu.control.v1.ControlService/Get', 'twice'), {
    code: status.INVALID_ARGUMENT,
    details: /2 nodes are named 'twice'/,
  })

  await rig.link.stop()
  t.match(await ask('/hsu.control.v1.ControlService/Get', 'other'), {
    code: status.UNAVAILABLE,
    details: /cannot reach node other: .*ECONNREFUSED/,
  })
})
