import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Metadata, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { createTopic } from '../../src/base/topic.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import type { Endpoint, EndpointSource } from '../../src/rpc/endpoint-source.ts'
import { changingCertificate, createLinkCertificate, type ShownCertificate } from '../../src/rpc/link-certificate.ts'
import { createInFlight } from '../../src/rpc/router/in-flight.ts'
import type { LinkTarget } from '../../src/rpc/target.ts'
import { createCallDoors } from '../../src/rpc/thread/doors.ts'
import { echo, grpcBackend, grpcClient } from '../support/call-rig.ts'
import { echoAt, type LiteralWorld, literalWorld } from '../support/literal-world.ts'
import { memoryLog } from '../support/memory-log.ts'
import { repoRoot } from '../support/paths.ts'
import { until } from '../support/until.ts'

const PROGRAM = pathToFileURL(join(repoRoot, 'dist/bundle/call-thread-main.js'))
const HELLO = Buffer.from('hello')

/** A node as far as calls go: its two doors in a thread, and what they are fed with. */
async function threadNode(
  t: Test,
  nodeId: string,
  world: LiteralWorld,
  links: { all: readonly LinkTarget[] },
  certificate: ShownCertificate,
  program = PROGRAM,
) {
  const changes = createTopic<undefined>()
  const endpoints: EndpointSource = {
    upstream: (service) => world.upstream(service),
    byUnit: (unit) => world.byUnit(unit),
    services: () => world.services(),
    feed: {
      entries: () => world.entries,
      links: () => links.all,
      settled: () => true,
      onChange: (listener) => changes.subscribe(listener),
    },
  }
  const log = memoryLog()
  const inFlight = createInFlight()
  const doors = createCallDoors(program)
  const shared = { clock: systemClock, log, endpoints, inFlight }
  const find = (id: string): LinkTarget | undefined => links.all.find(({ nodeId }) => nodeId === id)
  const config = { listen: '127.0.0.1:0', nodeId, certificate, graceMs: 100 }
  const ingress = doors.ingress({ ...shared, random: systemRandom, linkOf: find }, config)
  const isMember = (print: string): string | undefined =>
    links.all.find(({ fingerprint }) => print === fingerprint)?.nodeId
  const link = doors.link({ ...shared, isMember }, { ...config, controlSocket: '/nowhere' })
  t.teardown(async () => {
    await ingress.stop()
    await link.stop()
  })
  await ingress.start()
  await link.start()
  return { ingress, link, log, inFlight, refresh: () => changes.publish(undefined) }
}

const instance = (nodeId: string, address: string, values: Partial<Endpoint> = {}) =>
  echoAt(address, { nodeId, node: nodeId, instance: `echo-0-${nodeId}`, ...values })

t.test('calls go through a thread, and from one to another', async (t) => {
  const backend = await grpcBackend(t, { Unary: echo, Hang: () => undefined })
  const make = () => createLinkCertificate(systemClock, 'link')
  const { certificate: certificateA } = changingCertificate(await make())
  const { certificate: certificateB, show: showB } = changingCertificate(await make())
  const links: { all: readonly LinkTarget[] } = { all: [] }
  const worldA = literalWorld()
  const worldB = literalWorld(instance('b', backend.address))
  const a = await threadNode(t, 'a', worldA, links, certificateA)
  const b = await threadNode(t, 'b', worldB, links, certificateB)
  const { call, client } = grpcClient(t, a.ingress.address())

  t.test('nothing is known at first', async (t) => {
    t.equal((await call('Unary', [HELLO])).status.code, status.UNIMPLEMENTED)
  })

  t.test('what the node learns the thread knows', async (t) => {
    links.all = [
      { nodeId: 'a', addresses: [a.link.address()], fingerprint: certificateA.fingerprint },
      { nodeId: 'b', addresses: [b.link.address()], fingerprint: certificateB.fingerprint },
    ]
    worldA.entries = [instance('b', backend.address)]
    a.refresh()
    b.refresh()
    await until('a knows', async () => (await call('Unary', [HELLO])).status.code === status.OK)
    const result = await call('Unary', [HELLO])
    t.same(result.messages, [HELLO])
  })

  t.test('a certificate that is replaced is shown by the thread, and no call fails', async (t) => {
    const next = await make()
    const [toA, toB] = links.all as [LinkTarget, LinkTarget]
    links.all = [toA, { ...toB, further: [next.fingerprint] }]
    a.refresh()
    const before = await call('Unary', [HELLO])
    showB(next)
    const codes = [before.status.code]
    for (let each = 0; each < 5; each += 1) codes.push((await call('Unary', [HELLO])).status.code)
    t.same(codes, [0, 0, 0, 0, 0, 0])
    // Nothing but the next one is taken now, so that is what the thread shows.
    links.all = [toA, { ...toB, addresses: [b.link.address()], fingerprint: next.fingerprint }]
    a.refresh()
    await until('it is shown', async () => (await call('Unary', [HELLO])).status.code === status.OK)
  })

  t.test('the calls of both threads are counted, and drained means drained', async (t) => {
    const counted = (): number[] => [a.ingress.inFlight('echo-0-b'), b.link.inFlight('echo-0-b')]
    // Threads tell their counts a moment late: those of the calls before are not to be taken for this one.
    await until('none is under way', () => counted().every((calls) => calls === 0))
    const hanging = client.makeBidiStreamRequest(
      '/echo.Echo/Hang',
      (b: Buffer) => b,
      (b: Buffer) => b,
      new Metadata(),
    )
    hanging.on('error', () => undefined)
    hanging.write(HELLO)
    await until('both count it', () => counted().every((calls) => calls === 1))
    let drained = false
    const waiting = b.link.drained('echo-0-b', new AbortController().signal).then(() => {
      drained = true
    })
    worldB.entries = [instance('b', backend.address, { ready: false })]
    b.refresh()
    await until('what is withdrawn takes no call', async () => {
      return (await call('Unary', [HELLO])).status.code === status.UNAVAILABLE
    })
    t.notOk(drained)
    hanging.cancel()
    await waiting
    await until('neither does any more', () => counted().every((calls) => calls === 0))
    const gone = new AbortController()
    gone.abort(new Error('enough'))
    await t.rejects(b.link.drained('echo-0-b', gone.signal), { message: 'enough' })
  })

  t.test('a member that has left is cut off', async (t) => {
    worldB.entries = [instance('b', backend.address)]
    b.refresh()
    await until('it takes calls again', async () => (await call('Unary', [HELLO])).status.code === status.OK)
    links.all = links.all.filter(({ nodeId }) => nodeId !== 'a')
    b.refresh()
    b.link.cut('a')
    t.equal((await call('Unary', [HELLO])).status.code, status.UNAVAILABLE)
    const complaint = { level: 'warn', message: 'connection refused: not a member of the mesh' }
    const told = async () => {
      await call('Unary', [HELLO])
      return b.log.entries[0]
    }
    t.match(await until('its thread tells', told), complaint)
  })
})

t.test('doors stop, and can be started again', async (t) => {
  const certificate = await createLinkCertificate(systemClock, 'link')
  const { ingress, link } = await threadNode(t, 'a', literalWorld(), { all: [] }, certificate)
  const address = ingress.address()
  t.not(address, '127.0.0.1:0')
  t.type(ingress.handle()?.fd, 'number')
  await ingress.stop()
  await link.stop()
  const socket = connectTcp(Number(address.split(':').at(-1)), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  t.equal(error.code, 'ECONNREFUSED')
  await ingress.start()
  t.equal((await grpcClient(t, ingress.address()).call('Unary', [HELLO])).status.code, status.UNIMPLEMENTED)
})

t.test('a thread that dies is started again, with its doors where they were', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-test-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  process.env['HSU_TEST_MARKER'] = join(directory, 'marker')
  const program = pathToFileURL(join(repoRoot, 'test/fixtures/mortal-thread.mjs'))
  const certificate = await createLinkCertificate(systemClock, 'link')
  const backend = await grpcBackend(t, { Unary: echo, Hang: () => undefined })
  const world = literalWorld(instance('a', backend.address))
  const { ingress, log, inFlight } = await threadNode(t, 'a', world, { all: [] }, certificate, program)
  const { call } = grpcClient(t, ingress.address())
  const lost = call('Hang', [HELLO])
  await until('it ends', () => log.entries.find(({ message }) => message === 'the thread of calls ended'))
  t.equal((await lost).status.code, status.UNAVAILABLE, 'its calls are lost')
  const again = async (): Promise<boolean> => (await call('Unary', [HELLO])).status.code === status.OK
  await until('calls pass again, at the same address', again)
  await until('no call is left over', () => inFlight.of('echo-0-a') === 0)
})
