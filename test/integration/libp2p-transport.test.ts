import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { multiaddr } from '@multiformats/multiaddr'
import t, { type Test } from 'tap'
import type { Clock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import type { Store } from '../../src/base/store.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { createIdentity, type Identity } from '../../src/mesh/identity.ts'
import { HandshakeWatch } from '../../src/mesh/libp2p/handshake.ts'
import { type Host, privateKeyFrom, startHost, TOPIC } from '../../src/mesh/libp2p/host.ts'
import { Links } from '../../src/mesh/libp2p/links.ts'
import { createNetworkWatch } from '../../src/mesh/libp2p/network-watch.ts'
import { ringProtector } from '../../src/mesh/libp2p/ring-protector.ts'
import { createLibp2pTransport } from '../../src/mesh/libp2p/transport.ts'
import type { Transport } from '../../src/mesh/transport.ts'
import { transportContract } from '../contract/transport.ts'
import { freePort } from '../support/free-port.ts'
import { memoryLog, type MemoryLog } from '../support/memory-log.ts'
import { simStore } from '../../src/sim/sim-store.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

/** Of this run alone: discovery on loopback hears whatever else runs on this machine. */
const KEY = keyOfRun()
const hex = (content: Uint8Array): string => Buffer.from(content).toString('hex')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

interface Options {
  readonly key?: Uint8Array
  /** Instead of `key`: those in force, newest first. */
  readonly keys?: () => readonly Uint8Array[]
  readonly mdns?: boolean
  readonly seeds?: readonly string[]
  readonly listen?: string
  readonly store?: Store
  readonly identity?: Identity
  readonly clock?: Clock
}

interface Peer {
  readonly transport: Transport
  readonly log: MemoryLog
  readonly heard: string[]
  readonly news: { readonly what: '+' | '-'; readonly peer: string; readonly atMs: number }[]
}

function keyOfRun(): Uint8Array {
  const given = process.env['HSU_TEST_KEY']
  return given === undefined ? randomBytes(32) : Buffer.from(given, 'hex')
}

/** A started transport on loopback that echoes and takes notes. */
async function start(t: Test, options: Options = {}): Promise<Peer> {
  const peer = await create(options)
  t.teardown(() => peer.transport.stop())
  await peer.transport.start()
  return peer
}

async function create({ key = KEY, mdns = false, seeds = [], ...more }: Options): Promise<Peer> {
  const log = memoryLog()
  const { clock = systemClock, store = simStore(), identity = createIdentity(), listen = '127.0.0.1:0' } = more
  const discovery = { mdns, seeds, interfaces: ['127.0.0.1'] }
  const seams = { clock, random: systemRandom, log, store, identity }
  const transport = await createLibp2pTransport(seams, { keys: more.keys ?? (() => [key]), listen, discovery })
  const peer: Peer = { transport, log, heard: [], news: [] }
  transport.handle({
    onRequest: async (_, request) => request,
    onBroadcast: (from, content) => void peer.heard.push(`${from}: ${new TextDecoder().decode(content)}`),
    onConnected: (other) => void peer.news.push({ what: '+', peer: other, atMs: performance.now() }),
    onDisconnected: (other) => void peer.news.push({ what: '-', peer: other, atMs: performance.now() }),
  })
  return peer
}

function portOf({ transport }: Peer): number {
  return Number(transport.addresses()[0]?.split('/')[4])
}

const seedOf = (peer: Peer): string => `127.0.0.1:${portOf(peer)}`

const isConnected = (peer: Peer, ...others: Peer[]): boolean =>
  others.every(({ transport }) => peer.transport.connected().includes(transport.nodeId))

/** Broadcasts until the other hears it: gossip may be a moment late. */
async function hears(from: Peer, to: Peer, text: string): Promise<void> {
  await until(`'${text}' is heard`, () => {
    from.transport.broadcast(bytes(text))
    return to.heard.includes(`${from.transport.nodeId}: ${text}`)
  })
}

const warnings = ({ log }: Peer): string[] =>
  log.entries.flatMap(({ level, message }) => (level === 'warn' || level === 'error' ? [message] : []))

/** A clock on which everything happens `factor` times faster. */
function fastClock(factor: number): Clock {
  return {
    nowMs: () => systemClock.nowMs() * factor,
    wallMs: () => systemClock.wallMs(),
    sleep: (ms, signal) => systemClock.sleep(ms / factor, signal),
  }
}

// The same file, started as a program of its own, is a peer to be killed, or one that must end by itself.
const role = process.env['HSU_TEST_ROLE']
if (role !== undefined) await playRole(role)
else suite()

async function playRole(role: string): Promise<void> {
  const peer = await create({ seeds: [process.env['HSU_TEST_SEED'] ?? ''], mdns: role === 'ends' })
  await peer.transport.start()
  await until('connected', () => peer.transport.connected().length > 0)
  console.log(JSON.stringify({ nodeId: peer.transport.nodeId }))
  if (role === 'ends') await peer.transport.stop()
}

/** Spawns this file in a role; resolves with its node id once it is connected to `seed`. */
async function spawnPeer(t: Test, role: string, seed: Peer): Promise<{ child: ChildProcess; nodeId: string }> {
  const env = { ...process.env, HSU_TEST_ROLE: role, HSU_TEST_SEED: seedOf(seed), HSU_TEST_KEY: hex(KEY) }
  const child = spawn(process.execPath, [process.argv[1] ?? ''], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith('{')) return { child, nodeId: (JSON.parse(line) as { nodeId: string }).nodeId }
  }
  throw new Error('the peer ended before it was connected')
}

function suite(): void {
  t.test('contract', (t) =>
    transportContract(t, async (t) => {
      const [a, b] = await Promise.all([create({}), create({})])
      t.teardown(() => Promise.all([a.transport.stop(), b.transport.stop()]))
      return { a: a.transport, b: b.transport }
    }),
  )

  t.test('three find each other by mDNS, and a goodbye does no harm', async (t) => {
    const peers = [await start(t, { mdns: true }), await start(t, { mdns: true }), await start(t, { mdns: true })]
    const [a, b, c] = peers as [Peer, Peer, Peer]
    await until('all are connected', () => isConnected(a, b, c) && isConnected(b, a, c) && isConnected(c, a, b))
    await hears(c, a, 'from c')
    await c.transport.stop()
    await until('c is gone', () => !isConnected(a, c) && !isConnected(b, c))
    t.ok(isConnected(a, b))
    t.same(
      peers.flatMap(({ transport }) => transport.connected()).sort(),
      [a, b].map(({ transport }) => transport.nodeId).sort(),
    )
  })

  t.test('seeds suffice, by address or name, with oneself among them', async (t) => {
    const a = await start(t)
    const b = await start(t, { seeds: [seedOf(a)] })
    const c = await start(t, { seeds: [`localhost:${portOf(b)}`] })
    await until('they are connected', () => isConnected(a, b) && isConnected(b, a, c) && isConnected(c, b))
    const identity = createIdentity()
    const port = await freePort()
    const own = `127.0.0.1:${port}`
    const d = await start(t, { identity, listen: own, seeds: [own, seedOf(a), '127.0.0.1:1'] })
    await until('d is connected', () => isConnected(d, a))
    t.same([a, b, c, d].flatMap(warnings), [])
  })

  t.test('a seed that comes up later is found', async (t) => {
    const port = await freePort()
    const a = await start(t, { seeds: [`127.0.0.1:${port}`] })
    await until('it was tried', () => a.log.entries.some(({ message }) => message.startsWith('seed cannot be reached')))
    const b = await start(t, { listen: `127.0.0.1:${port}` })
    await until('they are connected', () => isConnected(a, b) && isConnected(b, a))
  })

  t.test('two that are seeds of each other and dial at once end with one link that carries broadcasts', async (t) => {
    const [portA, portB] = [await freePort(), await freePort()]
    const [a, b] = await Promise.all([
      start(t, { listen: `127.0.0.1:${portA}`, seeds: [`127.0.0.1:${portB}`] }),
      start(t, { listen: `127.0.0.1:${portB}`, seeds: [`127.0.0.1:${portA}`] }),
    ])
    await until('they are connected', () => isConnected(a, b) && isConnected(b, a))
    await hears(a, b, 'from a')
    await hears(b, a, 'from b')
    t.same([a.news.length, b.news.length], [1, 1], 'and each was told once')
  })

  t.test('peers of last time are found again without mDNS and seeds', async (t) => {
    const stores = { a: simStore(), b: simStore() }
    const ids = { a: createIdentity(), b: createIdentity() }
    const listen = { a: `127.0.0.1:${await freePort()}`, b: `127.0.0.1:${await freePort()}` }
    const first = await start(t, { identity: ids.a, store: stores.a, listen: listen.a })
    const second = await start(t, { identity: ids.b, store: stores.b, listen: listen.b, seeds: [listen.a] })
    await until('they are connected', () => isConnected(first, second) && isConnected(second, first))
    await Promise.all([first.transport.stop(), second.transport.stop()])
    const again = await start(t, { identity: ids.a, store: stores.a, listen: listen.a })
    const other = await start(t, { identity: ids.b, store: stores.b, listen: listen.b })
    await until('they are connected again', () => isConnected(again, other) && isConnected(other, again))
  })

  t.test('another mesh key never gets in, and both sides say why, once', async (t) => {
    const clock = fastClock(30)
    const a = await start(t, { clock })
    const b = await start(t, { clock, key: randomBytes(32), seeds: [seedOf(a)] })
    await until('it was refused again and again', () => {
      const failed = b.log.entries.filter(({ message }) => message.startsWith('handshake failed'))
      return failed.length >= 2 && warnings(a).length > 0
    })
    t.same(warnings(b), [`peer at ${seedOf(a)} refused: it has another mesh key, or is not an HSU node`])
    t.same(warnings(a), ['peer at 127.0.0.1 refused: it has another mesh key, or is not an HSU node'])
    t.same([a.news, b.news], [[], []])
  })

  t.test('garbage on the port closes that connection and nothing else', async (t) => {
    const a = await start(t)
    const b = await start(t, { seeds: [seedOf(a)] })
    await until('they are connected', () => isConnected(a, b) && isConnected(b, a))
    const sent = [bytes('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), randomBytes(1), randomBytes(100_000), bytes('')]
    await Promise.all(sent.map((content) => isClosedAfter(t, portOf(a), content)))
    await hears(b, a, 'still here')
    t.same([a.news.length, b.news.length], [1, 1])
  })

  t.test('a killed process is noticed at once', async (t) => {
    const a = await start(t)
    const { child, nodeId } = await spawnPeer(t, 'killed', a)
    await until('it is connected', () => a.transport.connected().includes(nodeId))
    const killedAtMs = performance.now()
    child.kill('SIGKILL')
    const gone = await until('it is gone', () => a.news.find(({ what }) => what === '-'))
    t.comment(`noticed after ${(gone.atMs - killedAtMs).toFixed(1)} ms`)
    t.ok(gone.atMs - killedAtMs < 1_000)
    t.equal(gone.peer, nodeId)
    t.same(a.transport.connected(), [])
  })

  t.test('a stopped transport leaves nothing that keeps its process alive', async (t) => {
    const a = await start(t)
    const { child } = await spawnPeer(t, 'ends', a)
    const startedAtMs = performance.now()
    const code = await new Promise((resolve) => child.on('exit', resolve))
    t.equal(code, 0)
    t.comment(`ended after ${(performance.now() - startedAtMs).toFixed(0)} ms`)
  })

  t.test('a taken port falls back to another, with one warning that names both', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    t.teardown(() => taken.close())
    const port = await until('it listens', () => (taken.address() as { port: number } | null)?.port)
    const a = await start(t, { listen: `127.0.0.1:${port}` })
    t.same(
      a.log.entries.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
      [{ configured: `127.0.0.1:${port}`, used: seedOf(a) }],
    )
    const b = await start(t, { seeds: [seedOf(a)] })
    await until('they are connected', () => isConnected(a, b))
    await throwsReason(t, 'CONFIG_INVALID', () => start(t, { listen: '198.51.100.1:0' }))
    await throwsReason(t, 'CONFIG_INVALID', () => create({ key: new Uint8Array(31) }))
  })

  t.test('links', async (t) => {
    t.test('many connections to one peer settle to one, and broadcasts pass both ways', async (t) => {
      const [a, b] = [await startLinked(t), await startLinked(t)]
      const dial = (from: LinkedHost, to: LinkedHost) => from.host.dial(addressOf(to), { force: true })
      await Promise.all([dial(a, b), dial(b, a), dial(a, b), dial(b, a)])
      await until('there are several', () => [a, b].every(({ host }) => host.getConnections().length > 1))
      a.run()
      b.run()
      await until('one is left', () => [a, b].every(({ host }) => host.getConnections().length === 1))
      await Promise.all([passes(a, b), passes(b, a)])
    })

    t.test('what is closed or cut is made anew, and carries broadcasts', async (t) => {
      const [a, b] = [await startLinked(t), await startLinked(t)]
      a.run()
      b.run()
      a.links.found(b.id, [addressOf(b).toString()], true)
      b.links.found(a.id, [addressOf(a).toString()], true)
      await Promise.all([passes(a, b), passes(b, a)])
      for (const cut of ['close', 'abort'] as const) {
        const old = a.host.getConnections()[0]
        if (cut === 'close') await old?.close()
        else old?.abort(new Error('cut'))
        await until('there is a new one', () => [a, b].every(({ host }) => isOther(host, old?.id)))
        await Promise.all([passes(a, b), passes(b, a)])
      }
    })
  })
}

interface LinkedHost {
  readonly host: Host
  readonly links: Links
  readonly id: string
  readonly heard: Set<string>
  run(): void
}

/** A libp2p node with its links and nothing else; no second connection is refused, as if all had opened in one moment. */
async function startLinked(t: Test): Promise<LinkedHost> {
  const privateKey = await privateKeyFrom(createIdentity().privateKey)
  const config = {
    protector: await ringProtector(() => [KEY], systemRandom),
    privateKey,
    listen: { host: '127.0.0.1', port: 0 },
  }
  const host = await startHost(silentLog, config, {}, new HandshakeWatch(() => undefined))
  const seams = { clock: systemClock, random: systemRandom, log: silentLog }
  const links = new Links({ ...seams, networks: createNetworkWatch(seams) }, host)
  const stop = new AbortController()
  const heard = new Set<string>()
  let ended: Promise<void> = Promise.resolve()
  host.addEventListener('connection:open', ({ detail }) => links.opened(detail))
  host.addEventListener('peer:disconnect', ({ detail }) => links.lost(detail.toString()))
  host.services.pubsub.addEventListener('message', ({ detail }) => heard.add(Buffer.from(detail.data).toString()))
  host.services.pubsub.subscribe(TOPIC)
  t.teardown(async () => {
    stop.abort()
    await ended
    await host.stop()
  })
  const run = (): void => {
    ended = links.run(stop.signal)
  }
  return { host, links, id: host.peerId.toString(), heard, run }
}

const addressOf = ({ host, id }: LinkedHost) =>
  multiaddr(`${host.services.inside.listening()[0]?.toString()}/p2p/${id}`)

const isOther = (host: Host, id: string | undefined): boolean => {
  const connections = host.getConnections()
  return connections.length === 1 && connections[0]?.id !== id
}

async function passes(from: LinkedHost, to: LinkedHost): Promise<void> {
  const text = randomBytes(8).toString('hex')
  await until('a broadcast passes', async () => {
    await from.host.services.pubsub.publish(TOPIC, bytes(text))
    return to.heard.has(text)
  })
}

/** Sends `content` and resolves when the other side has closed the connection. */
async function isClosedAfter(t: Test, port: number, content: Uint8Array): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.on('data', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(content)
  await closed
}
