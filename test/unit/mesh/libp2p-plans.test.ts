import t from 'tap'
import { hostNetworks, type Interfaces } from '../../../src/base/host-networks.ts'
import {
  announcedAddresses,
  formatHostPort,
  listenAddresses,
  MAX_ADDRESSES,
  mergeAddresses,
  parseHostPort,
  plainAddress,
} from '../../../src/mesh/libp2p/address.ts'
import { encodeFrame, readFrame } from '../../../src/mesh/libp2p/exchange.ts'
import { dialFault } from '../../../src/mesh/libp2p/dial-fault.ts'
import { isForLeg, legGaps, planLegs, queryIntervalMs, usableLegs } from '../../../src/mesh/libp2p/leg-plan.ts'
import {
  admits,
  bareSince,
  bestLink,
  dueInMs,
  type KnownPeer,
  LINK_POLICY,
  type Link,
  planLinks,
} from '../../../src/mesh/libp2p/link-plan.ts'
import { goodbyeOf, recordsOf } from '../../../src/mesh/libp2p/mdns-packets.ts'
import { createNetworkWatch } from '../../../src/mesh/libp2p/network-watch.ts'
import { allAddresses, dialOrder, NO_ADDRESSES, withAddresses } from '../../../src/mesh/libp2p/peer-addresses.ts'
import { Presence } from '../../../src/mesh/libp2p/presence.ts'
import { Refusals } from '../../../src/mesh/libp2p/refusals.ts'
import { createRememberedPeers } from '../../../src/mesh/libp2p/remembered-peers.ts'
import { interfaceAddress } from '../../support/interface-address.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const LOW = 'a'
const HIGH = 'b'
const known = (peer: string, more: Partial<KnownPeer> = {}): KnownPeer => ({
  peer,
  isDialable: true,
  dialing: false,
  presumedDead: false,
  absentSinceMs: 0,
  restUntilMs: 0,
  bareSinceMs: undefined,
  reopened: false,
  ...more,
})
const link = (id: string, peer: string, more: Partial<Link> = {}): Link => ({
  id,
  peer,
  direction: 'outbound',
  openedAtMs: 0,
  gossipOut: true,
  gossipIn: true,
  ...more,
})

t.test('who dials, and when', async (t) => {
  const dial = (peer: string) => [{ do: 'dial', peer }]
  t.same(planLinks(LOW, 0, [known(HIGH)], []), dial(HIGH), 'the lower id dials at once')
  t.same(planLinks(HIGH, LINK_POLICY.graceMs - 1, [known(LOW)], []), [], 'the higher id waits')
  t.same(planLinks(HIGH, LINK_POLICY.graceMs, [known(LOW)], []), dial(LOW), 'and dials when nothing came')
  t.same(planLinks(LOW, 0, [known(HIGH)], [link('1', HIGH)]), [], 'nobody dials what is connected')
  t.same(planLinks(LOW, 0, [known(HIGH, { dialing: true })], []), [], 'one dial at a time')
  t.same(planLinks(LOW, 99, [known(HIGH, { restUntilMs: 100 })], []), [], 'not before the rest is over')
  t.same(planLinks(LOW, 0, [known(HIGH, { isDialable: false })], []), [], 'not without an address')
  const many = Array.from({ length: 100 }, (_, index) => known(`p${index}`, { dialing: index < 10 }))
  t.equal(planLinks(LOW, 0, many, []).length, LINK_POLICY.maxDials - 10, 'dials under way are bounded')
})

t.test('links that are as they should be need no look for long, others soon', async (t) => {
  t.equal(dueInMs(LOW, 0, [known(HIGH)], [link('1', HIGH)]), Infinity)
  t.equal(dueInMs(LOW, 0, [], []), Infinity)
  t.equal(dueInMs(LOW, 0, [known(HIGH)], [link('1', HIGH), link('2', HIGH)]), 0, 'one of two is to be closed')
  t.equal(dueInMs(LOW, 0, [known(HIGH, { bareSinceMs: 0 })], [link('1', HIGH)]), 0, 'gossip is missing')
  t.equal(dueInMs(LOW, 10, [known(HIGH, { restUntilMs: 100 })], []), 90, 'a dial is due after its rest')
  t.equal(dueInMs(LOW, 10, [known(HIGH, { restUntilMs: 100, presumedDead: true })], [link('1', HIGH)]), 90)
  t.equal(dueInMs(HIGH, 10, [known(LOW, { restUntilMs: 100 })], []), LINK_POLICY.graceMs - 10, 'the other dials first')
  t.equal(dueInMs(LOW, 0, [known(HIGH, { isDialable: false })], []), Infinity, 'nobody knows where')
  t.equal(dueInMs(LOW, 10, [known('c'), known('d', { restUntilMs: 50 })], [link('1', 'c')]), 40, 'the earliest counts')
})

t.test('of two connections one is closed, by the lower side, when both have settled', async (t) => {
  const mine = link('mine', HIGH, { direction: 'outbound', openedAtMs: 100 })
  const theirs = link('theirs', HIGH, { direction: 'inbound', openedAtMs: 200 })
  t.same(planLinks(LOW, 499, [known(HIGH)], [mine, theirs]), [])
  t.same(planLinks(LOW, 500, [known(HIGH)], [mine, theirs]), [{ do: 'close', link: 'theirs' }])
  const asHigh = [link('1', LOW, { openedAtMs: 100 }), link('2', LOW, { direction: 'inbound', openedAtMs: 100 })]
  t.same(planLinks(HIGH, 3_099, [known(LOW)], asHigh), [], 'the higher side leaves it to the lower')
  t.same(planLinks(HIGH, 3_100, [known(LOW)], asHigh), [{ do: 'close', link: '1' }], 'unless that does nothing')
})

t.test('the connection that stays carries gossip, or replaces a lost one', async (t) => {
  const bare = link('bare', HIGH, { gossipOut: false, gossipIn: false })
  const carrier = link('carrier', HIGH, { direction: 'inbound' })
  t.equal(bestLink(LOW, [bare, carrier])?.id, 'carrier')
  const half = link('half', HIGH, { direction: 'inbound', gossipIn: false })
  const otherHalf = link('otherHalf', HIGH, { gossipOut: false })
  t.equal(bestLink(LOW, [half, otherHalf])?.id, 'otherHalf', 'equal: the one that the lower dialled')
  const newer = link('newer', HIGH, { openedAtMs: LINK_POLICY.apartMs, gossipOut: false, direction: 'inbound' })
  t.equal(bestLink(LOW, [carrier, newer])?.id, 'newer')
  t.equal(bestLink(LOW, []), undefined)
})

t.test('a link without gossip is repaired, then recycled', async (t) => {
  const bare = link('1', HIGH, { gossipOut: false })
  t.equal(bareSince(undefined, [bare], 10), 10)
  t.equal(bareSince(10, [bare], 20), 10)
  t.equal(bareSince(10, [link('1', HIGH)], 20), undefined)
  t.equal(bareSince(10, [], 20), undefined)
  const at = (nowMs: number, reopened = false) =>
    planLinks(LOW, nowMs, [known(HIGH, { bareSinceMs: 0, reopened })], [bare])
  t.same(at(499), [])
  t.same(at(500), [{ do: 'reopen', peer: HIGH, link: '1' }])
  t.same(at(600, true), [], 'asked for once')
  t.same(at(2_500, true), [{ do: 'recycle', peer: HIGH }])
})

t.test('a second connection is refused before it opens', async (t) => {
  const open = [link('1', HIGH, { openedAtMs: 1_000 })]
  t.ok(admits(LOW, HIGH, 'inbound', 1_000, []))
  t.notOk(admits(LOW, HIGH, 'outbound', 9_000, open), 'our own dial gives way to what is there')
  t.notOk(admits(LOW, HIGH, 'inbound', 1_500, open), 'the lower refuses the other of two dials at once')
  t.ok(admits(LOW, HIGH, 'inbound', 3_000, open), 'a much later one means that the peer has lost the first')
  t.ok(admits('c', HIGH, 'inbound', 1_500, open), 'the higher leaves it to the lower')
})

t.test('a peer that was found dead is dialled beside the connection that has not noticed', async (t) => {
  const dead = known(HIGH, { presumedDead: true })
  t.same(planLinks(LOW, 0, [dead], [link('1', HIGH)]), [{ do: 'dial', peer: HIGH }])
  t.same(planLinks(LOW, 99, [{ ...dead, restUntilMs: 100 }], [link('1', HIGH)]), [], 'in the same rests as others')
  t.same(planLinks(LOW, 9_999, [{ ...dead, dialing: true }], [link('1', HIGH, { gossipOut: false })]), [])
})

const HOST = {
  lo: [interfaceAddress('127.0.0.1/8', { internal: true }), interfaceAddress('::1/128', { internal: true })],
  eth0: [interfaceAddress('10.0.0.7/24'), interfaceAddress('fd00::7/64'), interfaceAddress('fe80::7/64')],
  eth1: [interfaceAddress('10.0.1.7/24'), interfaceAddress('fe80::8/64')],
}

t.test('discovery legs', async (t) => {
  const legs = (wanted: string[]) =>
    usableLegs(hostNetworks(HOST), wanted).map((leg) => `${leg.interface} ${leg.addresses.join()}`)
  t.same(
    legs([]),
    ['eth0 10.0.0.7', 'eth1 10.0.1.7', 'eth0 fd00::7'],
    'all that leave the machine and mean something there',
  )
  t.same(legs(['eth1', '10.0.0.7']), ['eth0 10.0.0.7', 'eth1 10.0.1.7'], 'by name or address')
  t.same(legs(['lo']), ['lo 127.0.0.1'], 'loopback when named')
  t.same(legs(['eth9']), [])

  const usable = usableLegs(hostNetworks(HOST), [])
  const [first, second, third] = usable
  if (first === undefined || second === undefined || third === undefined) throw new Error('three legs expected')
  t.same(planLegs(usable, new Set([first.key, 'gone'])), { open: [second, third], close: ['gone'] })
  const moved = usableLegs(hostNetworks({ eth0: [interfaceAddress('10.0.0.8/24')] }), [])
  t.same(planLegs(moved, new Set([first.key])), { open: moved, close: [first.key] }, 'a changed address is another leg')

  t.ok(isForLeg('10.0.0.99', first, usable))
  t.notOk(isForLeg('10.0.0.99', second, usable), 'a packet belongs to the leg of its network')
  t.ok(isForLeg('192.168.1.1', first, usable) && isForLeg('192.168.1.1', second, usable), 'or to all')
  t.ok(isForLeg('fe80::99%eth0', third, usable) && isForLeg('fd00::99', third, usable))
  t.notOk(third.includes('fe80::99%eth1'), 'link-local sources name their interface')
  t.ok(third.isOwn('fe80::7%eth0'), 'what this host sends to a link-local group comes from its link-local address')
  t.notOk(third.isOwn('fe80::8%eth1') || third.isOwn('fe80::99%eth0') || first.isOwn('10.0.0.99'))
  t.same([queryIntervalMs(0), queryIntervalMs(10), queryIntervalMs(100)], [1_000, 10_000, 30_000])
})

t.test('where there is no discovery leg, it is told why', async (t) => {
  const gaps = (host: Interfaces, wanted: string[] = []) =>
    legGaps(hostNetworks(host), wanted).map(({ where, why }) => `${where}: ${why}`)
  t.same(gaps(HOST), [])
  t.same(gaps(HOST, ['eth0', '10.0.1.7']), [])
  t.match(gaps(HOST, ['eth0', 'eth9']), [/^eth9: .*no interface or address of that name/])
  t.match(gaps({ lo: HOST.lo }), [/^all interfaces: this host is on no network/])
  const bare = { ...HOST, eth2: [interfaceAddress('fe80::9/64')] }
  t.match(gaps(bare), [/^eth2 .fe80::9.: has a link-local IPv6 address alone/])
})

t.test('why a dial failed is told in words', async (t) => {
  const coded = (code: string) => Object.assign(new Error(`connect ${code}`), { code })
  const named = (name: string, message = 'x') => Object.assign(new Error(message), { name })
  t.match(dialFault(coded('ECONNREFUSED')), 'nothing listens on that port')
  t.match(dialFault(coded('EAI_AGAIN')), 'no name server answers')
  t.match(dialFault(named('AbortError')), 'no answer')
  t.match(
    dialFault(named('EncryptionFailedError', 'the operation timed out')),
    'no answer',
    'it accepts and says nothing',
  )
  t.match(dialFault(named('EncryptionFailedError', 'Message length too long')), 'no node with this mesh key')
  t.match(dialFault(named('HandshakeCutError')), 'no node with this mesh key')
  const both = new AggregateError([coded('ECONNREFUSED'), coded('ECONNREFUSED'), coded('ENETUNREACH')])
  t.match(dialFault(both), /nothing listens[^;]*; this host has no route/, 'each kind once')
  t.equal(dialFault(new Error('something else')), 'something else')
})

t.test('the order in which addresses are tried', async (t) => {
  const networks = hostNetworks({
    ...HOST,
    docker0: [interfaceAddress('172.17.0.1/16')],
    tun0: [interfaceAddress('10.8.0.2/24', { mac: '00:00:00:00:00:00' })],
  })
  const at = (address: string) => `/${address.includes(':') ? 'ip6' : 'ip4'}/${address}/tcp/1`
  const [bridge, vpn, routed, lan, lan6] = ['172.17.0.1', '10.8.0.9', '192.168.7.7', '10.0.0.9', 'fd00::9'].map(at)
  const stated = [bridge, vpn, routed, lan, lan6] as string[]
  const peer = withAddresses(NO_ADDRESSES, { stated })
  const order = dialOrder(peer, networks, 0)
  t.same(order, [lan, lan6, routed, vpn, bridge], 'the LAN, what is behind a router, tunnels, what is inside a host')
  t.same(dialOrder(peer, networks, 1), [...order.slice(1), lan], 'after a failure it begins one further')
  t.same(dialOrder(NO_ADDRESSES, networks, 3), [])
  const reached = withAddresses(peer, { reached: vpn })
  t.equal(dialOrder(reached, networks, 0)[0], vpn, 'where it was reached comes first')
  const invented = Array.from({ length: 50 }, (_, index) => at(`10.0.0.${index + 100}`))
  const flooded = withAddresses(reached, { announced: invented })
  t.equal(flooded.announced.length, MAX_ADDRESSES)
  t.same(dialOrder(flooded, networks, 0).slice(0, 3), [vpn, lan, lan6], 'what multicast invents pushes nothing out')
  t.equal(
    withAddresses(flooded, { stated, announced: invented.slice(0, 3) }),
    flooded,
    'nothing learnt: the same object',
  )
  t.same(allAddresses({ reached: lan, stated: [lan as string], announced: [] }), [lan])
})

t.test('changes of the networks are told, and nothing else', async (t) => {
  const clock = new SimClock()
  let interfaces: Interfaces = HOST
  const watch = createNetworkWatch({ clock, random: seeded(1), log: memoryLog() }, () => interfaces)
  let told = 0
  watch.changes.subscribe(() => void (told += 1))
  await watch.start()
  await clock.advance(5_000)
  t.equal(told, 0)
  interfaces = { eth0: [interfaceAddress('10.0.0.8/24')] }
  await clock.advance(1_100)
  t.equal(told, 1)
  t.same(
    watch.networks().map(({ address }) => address),
    ['10.0.0.8'],
  )
  await watch.stop()
  t.equal(clock.sleeping, 0)
})

t.test('goodbyes', async (t) => {
  const peer = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
  const packet = (ttl: number, service = '_p2p._udp.local') => ({
    answers: [
      { name: service, type: 'PTR' as const, class: 'IN' as const, ttl, data: `x.${service}` },
      {
        name: 'x',
        type: 'TXT' as const,
        class: 'IN' as const,
        ttl,
        data: [Buffer.from(`dnsaddr=/ip4/10.0.0.7/tcp/9471/p2p/${peer}`)],
      },
    ],
    additionals: [],
  })
  t.equal(goodbyeOf(packet(0)), peer)
  const own = { answers: recordsOf('me', [`/ip4/10.0.0.7/tcp/9471/p2p/${peer}`], 0), additionals: [] }
  t.equal(goodbyeOf(own), peer, 'our own are understood')
  t.equal(goodbyeOf(packet(120)), undefined)
  t.equal(goodbyeOf(packet(0, '_http._tcp.local')), undefined)
  t.equal(goodbyeOf({ answers: [], additionals: [] }), undefined)
})

t.test('addresses', async (t) => {
  t.same(parseHostPort('10.0.0.7:9471'), { host: '10.0.0.7', port: 9471 })
  t.same(parseHostPort('[fd00::7]:9471'), { host: 'fd00::7', port: 9471 })
  t.equal(formatHostPort({ host: 'fd00::7', port: 1 }), '[fd00::7]:1')
  for (const wrong of ['', 'host', '10.0.0.7:', '10.0.0.7:99999', 'fd00::7:1', 'a:b']) {
    await throwsReason(t, 'CONFIG_INVALID', () => parseHostPort(wrong))
  }
  t.same(listenAddresses({ host: '0.0.0.0', port: 1 }), ['/ip4/0.0.0.0/tcp/1', '/ip6/::/tcp/1'])
  t.same(listenAddresses({ host: '::1', port: 1 }), ['/ip6/::1/tcp/1'])
  t.equal(
    plainAddress('/ip4/10.0.0.7/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'),
    '/ip4/10.0.0.7/tcp/1',
  )
  for (const wrong of ['', 'x', '/ip4/10.0.0.7', '/dns4/x/tcp/1', '/ip4/10.0.0.7/tcp/0'])
    t.equal(plainAddress(wrong), undefined)
  const [lo, lan] = ['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.7/tcp/1']
  t.same(announcedAddresses([lo, lan, '/ip6/::1/tcp/1', '/ip6/fe80::1/tcp/1']), [lan])
  t.same(announcedAddresses([lo]), [lo])
  const kept = [lan]
  t.equal(mergeAddresses(kept, [lan]), kept, 'nothing learnt returns the very array')
  t.same(mergeAddresses(kept, [lo]), [lo, lan], 'newest first')
  const many = Array.from({ length: 50 }, (_, index) => `${index}`)
  t.equal(mergeAddresses(kept, many).length, MAX_ADDRESSES)
})

t.test('frames', async (t) => {
  async function* inPieces(bytes: Uint8Array, size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  const content = Uint8Array.from({ length: 1_000 }, (_, index) => index % 256)
  for (const size of [1, 3, 4, 5, 999, 5_000]) t.same(await readFrame(inPieces(encodeFrame(content), size)), content)
  t.same(await readFrame(inPieces(encodeFrame(new Uint8Array()), 2)), new Uint8Array())
  await throwsReason(t, 'LIMIT_EXCEEDED', () => readFrame(inPieces(encodeFrame(content), 10), 999))
  await throwsReason(t, 'NODE_UNREACHABLE', () => readFrame(inPieces(encodeFrame(content).subarray(0, 50), 10)))
})

t.test('a failed handshake is warned about once in ten minutes, and never for a lone accident', async (t) => {
  const refusals = new Refusals()
  t.notOk(refusals.failed('10.0.0.7', false, 0), 'one hang-up may be a crash')
  t.ok(refusals.failed('10.0.0.7', false, 5_000))
  t.notOk(refusals.failed('10.0.0.7', true, 6_000))
  t.notOk(refusals.failed('10.0.0.7', true, 604_999))
  t.ok(refusals.failed('10.0.0.7', true, 605_000))
  t.ok(refusals.failed('10.0.0.8', true, 0), 'garbage is certain')
  refusals.succeeded('10.0.0.8')
  t.ok(refusals.failed('10.0.0.8', true, 1), 'after a success it is news again')
  for (let index = 0; index < 1_000; index += 1) refusals.failed(`other ${index}`, true, 2)
  t.ok(refusals.failed('10.0.0.8', true, 3), 'what is remembered is bounded')
})

t.test('presence', async (t) => {
  const setUp = () => {
    const clock = new SimClock()
    const ready = new Set<string>()
    const news: string[] = []
    const presence = new Presence(clock, (peer) => ready.has(peer), {
      onConnected: (peer) => void news.push(`+${peer}`),
      onDisconnected: (peer) => void news.push(`-${peer}`),
    })
    return { clock, ready, news, presence }
  }

  t.test('a peer is reported when gossip is ready, or after half a second', async (t) => {
    const { clock, ready, news, presence } = setUp()
    presence.arrived('x')
    presence.arrived('x')
    await clock.advance(100)
    t.same(news, [])
    ready.add('x')
    await clock.advance(10)
    t.same([news, presence.peers()], [['+x'], ['x']])
    presence.arrived('y')
    await clock.advance(499)
    t.same(news, ['+x'])
    await clock.advance(11)
    t.same(news, ['+x', '+y'])
  })

  t.test('one that leaves is reported at once, and only when it was there', async (t) => {
    const { clock, ready, news, presence } = setUp()
    presence.arrived('x')
    presence.departed('x')
    await clock.advance(1_000)
    t.same(news, [])
    ready.add('x')
    presence.arrived('x')
    await clock.advance(0)
    presence.departed('x')
    presence.departed('x')
    t.same(news, ['+x', '-x'])
    presence.arrived('y')
    presence.close()
    t.equal(clock.sleeping, 0)
    await clock.advance(1_000)
    t.same([news, clock.sleeping], [['+x', '-x'], 0])
  })
})

t.test('remembered peers', async (t) => {
  const disk = new Map<string, Uint8Array>()
  const clock = new SimClock()
  const log = memoryLog()
  const create = () => createRememberedPeers({ clock, random: seeded(1), log, store: simStore(disk) })
  const file = () => Buffer.from(disk.get('mesh/peers.json') ?? '').toString()

  t.test('are saved together, and read next time', async (t) => {
    const peers = create()
    t.same(await peers.load(), [])
    await peers.start()
    await clock.advance(10)
    peers.note('x', ['/ip4/10.0.0.7/tcp/1'])
    peers.note('none', [])
    t.equal(file(), '')
    await clock.advance(3_000)
    t.match(file(), '10.0.0.7')
    peers.note('y', ['/ip4/10.0.0.8/tcp/1'])
    const stopping = peers.stop()
    await clock.advance(0)
    await stopping
    t.same((await create().load()).map(({ nodeId }) => nodeId).sort(), ['x', 'y'])
  })

  t.test('those long unseen, forgotten or beyond the bound are gone', async (t) => {
    const peers = create()
    await peers.load()
    for (let index = 0; index < 300; index += 1) peers.note(`p${index}`, ['/ip4/10.0.0.9/tcp/1'])
    peers.forget('x')
    await peers.stop()
    const kept = await create().load()
    t.equal(kept.length, 256)
    t.notOk(kept.some(({ nodeId }) => nodeId === 'x'))
    await clock.advance(31 * 86_400_000)
    t.same(await create().load(), [])
  })

  t.test('a damaged file is set aside', async (t) => {
    disk.set('mesh/peers.json', Buffer.from('{"peers":[{"nodeId":7}]}'))
    t.same(await create().load(), [])
    t.ok(log.entries.some(({ level }) => level === 'error'))
    t.ok([...disk.keys()].some((key) => key.includes('corrupt')))
  })
})
