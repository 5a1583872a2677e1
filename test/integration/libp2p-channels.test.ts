import { randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { createIdentity } from '../../src/mesh/identity.ts'
import { CHANNEL_PROTOCOL } from '../../src/mesh/libp2p/channel.ts'
import { createExchangeServer, exchange, EXCHANGE_PROTOCOL } from '../../src/mesh/libp2p/exchange.ts'
import { HandshakeWatch } from '../../src/mesh/libp2p/handshake.ts'
import { type Host, privateKeyFrom, startHost, TOPIC } from '../../src/mesh/libp2p/host.ts'
import { ringProtector } from '../../src/mesh/libp2p/ring-protector.ts'
import type { Transport } from '../../src/mesh/transport.ts'
import { ECHO_KEY, echoTransport } from '../support/echo-transport.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

const never = (): AbortSignal => new AbortController().signal

/** A bare libp2p node that has the mesh key and no protocol of ours but what the test gives it. */
async function bareHost(t: Test): Promise<{ host: Host; at: string; id: string }> {
  const privateKey = await privateKeyFrom(createIdentity().privateKey)
  const protector = await ringProtector(() => [ECHO_KEY], systemRandom)
  const config = { protector, privateKey, listen: { host: '127.0.0.1', port: 0 } }
  const host = await startHost(silentLog, config, {}, new HandshakeWatch(() => undefined))
  t.teardown(() => host.stop())
  host.services.pubsub.subscribe(TOPIC)
  const port = host.services.inside.listening()[0]?.toString().split('/')[4] ?? ''
  return { host, at: `127.0.0.1:${port}`, id: host.peerId.toString() }
}

const isConnected = (transport: Transport, peer: string) => () => transport.connected().includes(peer)

t.test('a peer of an earlier version is asked over a stream for each request', async (t) => {
  const { host, at, id } = await bareHost(t)
  const seams = { clock: systemClock, log: silentLog }
  await host.handle(
    EXCHANGE_PROTOCOL,
    createExchangeServer(seams, async (_, request) => request),
  )
  const transport = await echoTransport(t, [at])
  await until('they are connected', isConnected(transport, id))
  for (const request of [randomBytes(10), randomBytes(100_000)]) {
    t.same(Buffer.from(await transport.request(id, request, never())), request)
  }
})

t.test('a peer of an earlier version is answered', async (t) => {
  const transport = await echoTransport(t, [])
  const { host } = await bareHost(t)
  const connection = await host.dial(multiaddr(transport.addresses()[0]))
  t.same(Buffer.from(await exchange(connection, Buffer.from('ping'), never())).toString(), 'ping')
})

t.test('a peer that accepts and never reads costs a bounded buffer, and fails requests at once', async (t) => {
  const { host, at, id } = await bareHost(t)
  await host.handle(CHANNEL_PROTOCOL, (stream) => stream.pause())
  const [transport, other] = [await echoTransport(t, [at]), await echoTransport(t, [])]
  transport.learn(other.nodeId, other.addresses())
  await until('they are connected', isConnected(transport, id))
  await until('the other is connected', isConnected(transport, other.nodeId))

  const request = randomBytes(16_000)
  const faults: string[] = []
  let asked = 0
  await until('a request is refused at once', () => {
    void transport.request(id, request, never()).catch((error: unknown) => faults.push(String(error)))
    asked += 1
    return faults.some((fault) => fault.includes('does not read'))
  })
  t.ok(asked * request.length < 600_000, `${asked} requests: the window of yamux and our bound`)
  t.same(Buffer.from(await transport.request(other.nodeId, request, never())), request, 'others are served as ever')
})

t.test('requests of one peer that hang leave room for those of others', async (t) => {
  const [a, b] = [await echoTransport(t, []), await echoTransport(t, [])]
  let answered = 0
  a.handle({
    onRequest: async (from, request) => {
      if (from === b.nodeId) return new Promise(() => undefined)
      answered += 1
      return request
    },
    onBroadcast: () => undefined,
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  })
  const c = await echoTransport(t, [])
  for (const each of [b, c]) each.learn(a.nodeId, a.addresses())
  await until('both are connected', () => isConnected(b, a.nodeId)() && isConnected(c, a.nodeId)())
  const hanging = Array.from({ length: 64 }, () => b.request(a.nodeId, randomBytes(10), never()).catch(() => 'ended'))
  await throwsReason(t, 'NODE_UNREACHABLE', () => b.request(a.nodeId, randomBytes(10), never()))
  t.equal((await c.request(a.nodeId, randomBytes(10), never())).length, 10)
  t.equal(answered, 1)
  await a.stop()
  t.same([...new Set(await Promise.all(hanging))], ['ended'])
})

t.test('a small request and its answer are two messages on the wire, and no more', async (t) => {
  const server = await echoTransport(t, [])
  const port = Number(server.addresses()[0]?.split('/')[4])
  const meter = await meteredProxy(t, port)
  const client = await echoTransport(t, [`127.0.0.1:${meter.port}`])
  await until('they are connected', isConnected(client, server.nodeId))
  const request = randomBytes(20)
  await client.request(server.nodeId, request, never())
  const before = meter.bytes()
  for (let count = 0; count < 200; count += 1) await client.request(server.nodeId, request, never())
  const each = (meter.bytes() - before) / 200
  t.comment(`${each.toFixed(1)} bytes a request`)
  // 20 of content, 9 of our frame, 12 of yamux, 18 of noise, twice; gossip and identify add a little.
  t.ok(each < 145, 'window updates would add 60')
})

/** Passes bytes on to a port of this host and counts them. */
async function meteredProxy(t: Test, target: number): Promise<{ port: number; bytes: () => number }> {
  let total = 0
  const sockets = new Set<Socket>()
  const server = createServer((inbound) => {
    const outbound = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk: Buffer) => {
        total += chunk.length
        to.write(chunk)
      })
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as { port: number }).port, bytes: () => total }
}
