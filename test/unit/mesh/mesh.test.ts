import t, { type Test } from 'tap'
import { lan } from '../../../src/mesh/config.ts'
import {
  decodeBroadcast,
  decodeRequest,
  decodeResponse,
  EMPTY_BATCH,
  encodeBroadcast,
  encodeRequest,
  encodeResponse,
  type PeerRequest,
} from '../../../src/mesh/gossip/codec.ts'
import { createIdentity, type Identity } from '../../../src/mesh/identity.ts'
import type { Batch, MeshEvent, NodeRecord, Rumour, Section, SignedRecord } from '../../../src/mesh/member.ts'
import { createMesh } from '../../../src/mesh/mesh.ts'
import { parseRecord, signRecord } from '../../../src/mesh/record.ts'
import { signSection } from '../../../src/mesh/registry/signed-section.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { settle, SimClock } from '../../../src/sim/sim-clock.ts'
import { registration } from '../../support/sim-mesh.ts'
import { SimNetwork } from '../../../src/sim/sim-network.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const FINGERPRINT = 'ab'.repeat(32)

function recordOf(identity: Identity, changes: Partial<NodeRecord> = {}): SignedRecord {
  return signRecord(identity, {
    nodeId: identity.nodeId,
    name: 'peer',
    incarnation: 1,
    startedIncarnation: 1,
    recordVersion: 1,
    meshAddresses: ['/ip4/10.0.0.9/tcp/9471'],
    linkAddresses: ['10.0.0.9:9472'],
    linkFingerprint: FINGERPRINT,
    labels: {},
    version: '0',
    ...changes,
  })
}

/** A mesh of one node, and a bare transport beside it that says whatever the test wants. */
interface LabOptions {
  readonly disk?: Map<string, Uint8Array>
  readonly identity?: Identity
  readonly labels?: Record<string, string>
  readonly linkAddresses?: () => readonly string[]
}

async function lab(t: Test, options: LabOptions = {}) {
  const { disk = new Map<string, Uint8Array>(), identity = createIdentity(), labels = {} } = options
  const { linkAddresses = () => ['10.0.0.1:9472'] } = options
  const clock = new SimClock()
  const network = new SimNetwork({ clock, random: seeded(1) })
  const log = memoryLog()
  const store = simStore(disk)
  const transport = network.transport(identity.nodeId)
  const seams = { clock, random: seeded(2), log, store, identity, transport }
  const mesh = createMesh(seams, {
    ...lan,
    name: 'under-test',
    version: '0.1.0',
    labels,
    linkAddresses,
    linkFingerprints: () => [FINGERPRINT],
  })
  const events: MeshEvent[] = []
  mesh.events.subscribe((event) => events.push(event))
  const peerIdentity = createIdentity()
  const peer = network.transport(peerIdentity.nodeId)
  const heard: Batch[] = []
  peer.handle({
    onRequest: () => new Promise(() => undefined),
    onBroadcast: (_, bytes) => heard.push(decodeBroadcast(bytes)),
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  })

  const say = async (batch: Partial<Batch>): Promise<void> => {
    peer.broadcast(encodeBroadcast({ ...EMPTY_BATCH, ...batch }))
    await clock.advance(20)
  }
  const ask = async (request: PeerRequest | Uint8Array): Promise<Uint8Array> => {
    const bytes = request instanceof Uint8Array ? request : encodeRequest(request)
    const answer = peer.request(mesh.nodeId, bytes, new AbortController().signal)
    answer.catch(() => undefined)
    await clock.advance(20)
    return answer
  }
  const stop = async (): Promise<void> => {
    const stopped = mesh.stop()
    await clock.advance(1_000)
    await stopped
  }
  t.teardown(async () => {
    await peer.stop()
    await stop()
  })
  const selfOf = (): NodeRecord => mesh.members()[0]?.record as NodeRecord
  return { clock, log, disk, mesh, transport, peer, peerIdentity, heard, events, say, ask, stop, selfOf, identity }
}

async function startedLab(t: Test, options: Parameters<typeof lab>[1] = {}) {
  const made = await lab(t, options)
  await made.mesh.start()
  await made.peer.start()
  await made.clock.advance(200)
  return made
}

const typesOf = (events: readonly MeshEvent[]): string[] => events.map(({ type }) => type)

t.test('each start takes the next incarnation, on disk before anybody hears of it', async (t) => {
  const disk = new Map<string, Uint8Array>()
  for (const expected of [1, 2, 3]) {
    const { mesh, stop, selfOf } = await startedLab(t, { disk })
    t.equal(selfOf().incarnation, expected)
    t.equal(mesh.members()[0]?.status, 'alive')
    await stop()
  }
  disk.set('mesh/self.json', new TextEncoder().encode('{"incarn'))
  const { log, selfOf } = await startedLab(t, { disk })
  t.equal(selfOf().incarnation, 5, 'never one that was used before, whichever file is damaged')
  t.ok(disk.has('mesh/self.json.corrupt-1'))
  t.ok(log.entries.some(({ level }) => level === 'error'))
})

t.test('life cycle: before start, failed start, stop without start, stop twice', async (t) => {
  const { mesh, stop } = await lab(t)
  t.same(mesh.members(), [])
  mesh.publish([registration('early')])
  t.equal(mesh.registrations().get(mesh.nodeId)?.[0]?.unit, 'early')
  await stop()
  await stop()

  const failing = await lab(t)
  failing.transport.start = () => Promise.reject(new Error('port taken'))
  await t.rejects(failing.mesh.start(), { message: 'port taken' })
  await failing.stop()
  t.equal(failing.clock.sleeping, 0)
  await throwsReason(t, 'INTERNAL', () => failing.mesh.start())
})

t.test('rumours about this node', async (t) => {
  const rumour = (nodeId: string, status: Rumour['status'], incarnation: number): Rumour => ({
    nodeId,
    status,
    incarnation,
    from: '',
    linkLost: false,
  })

  t.test('of now are outbid, of then or of never are not', async (t) => {
    const { mesh, say, selfOf, disk, heard } = await startedLab(t)
    await say({ rumours: [rumour(mesh.nodeId, 'suspect', 0), rumour(mesh.nodeId, 'dead', 2 ** 40)] })
    t.equal(selfOf().incarnation, 1)
    await say({ rumours: [rumour(mesh.nodeId, 'dead', 1)] })
    t.equal(selfOf().incarnation, 2)
    t.equal(selfOf().startedIncarnation, 1)
    t.match(JSON.parse(Buffer.from(disk.get('mesh/self-2.json') ?? '').toString()), { incarnation: 2 })
    const spoken = heard.flatMap(({ records }) => records.map((record) => parseRecord(record).record.incarnation))
    t.equal(spoken.at(-1), 2)
  })

  t.test('are answered ten times at once, then once a second', async (t) => {
    const { mesh, say, selfOf } = await startedLab(t)
    for (let index = 0; index < 30; index += 1)
      await say({ rumours: [rumour(mesh.nodeId, 'dead', selfOf().incarnation)] })
    t.ok(selfOf().incarnation <= 12, `${selfOf().incarnation}`)
  })

  t.test('come with a ping, and the proof against them goes back with its answer', async (t) => {
    const { mesh, ask, peerIdentity } = await startedLab(t)
    const belief = { ...rumour(mesh.nodeId, 'suspect', 1), from: peerIdentity.nodeId }
    const ack = decodeResponse('ack', await ask({ kind: 'ping', belief }))
    t.equal(ack.alive, true)
    t.equal(ack.record && parseRecord(ack.record).record.incarnation, 2)
    const plain = decodeResponse('ack', await ask({ kind: 'ping', belief: undefined }))
    t.equal(plain.record, undefined)
  })

  t.test('are outbid even when the disk is full', async (t) => {
    const disk = new Map<string, Uint8Array>()
    const { mesh, say, selfOf, log } = await startedLab(t, { disk })
    disk.set = () => {
      throw new Error('ENOSPC')
    }
    await say({ rumours: [rumour(mesh.nodeId, 'dead', 1)] })
    t.equal(selfOf().incarnation, 2)
    t.ok(log.entries.some(({ message }) => message === 'incarnation cannot be stored'))
  })
})

t.test('the own record is one that others take', async (t) => {
  t.test('of more addresses than a record holds the first are in it', async (t) => {
    const many = Array.from({ length: 100 }, (_, index) => `10.0.0.${index}:9472`)
    const { transport, clock, selfOf, heard } = await startedLab(t, { linkAddresses: () => many })
    t.same(selfOf().linkAddresses, many.slice(0, 64))
    transport.own = many.map((address) => `/ip4/${address.slice(0, -5)}/tcp/9471`)
    await clock.advance(5_000)
    const last = heard.flatMap(({ records }) => records).at(-1)
    t.same(last && parseRecord(last).record.meshAddresses, transport.own.slice(0, 64))
    const { recordVersion } = selfOf()
    await clock.advance(10_000)
    t.equal(selfOf().recordVersion, recordVersion, 'what was left out is not a change')
  })

  t.test('labels that others would refuse fail the start, by name', async (t) => {
    const crowd = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, '']))
    for (const [labels, words] of [
      [{ zone: 'x'.repeat(257) }, /label zone has 257 characters/],
      [crowd, /labels has 65 entries/],
    ] as const) {
      const { mesh } = await lab(t, { labels })
      const error = await throwsReason(t, 'LIMIT_EXCEEDED', () => mesh.start())
      t.match(error?.message, words)
      t.same(mesh.members(), [], 'and nothing is half begun')
    }
  })

  t.test('one that cannot be made is logged, and does not end refuting', async (t) => {
    let fails = false
    const linkAddresses = (): string[] => {
      if (fails) throw new Error('link server is closed')
      return []
    }
    const { mesh, say, log, selfOf } = await startedLab(t, { linkAddresses })
    const accuse = () =>
      say({ rumours: [{ nodeId: mesh.nodeId, status: 'dead', incarnation: 1, from: '', linkLost: false }] })
    fails = true
    await accuse()
    t.equal(mesh.members()[0]?.incarnation, 1)
    t.ok(log.entries.some(({ fields }) => fields['cause'] === 'link server is closed'))
    fails = false
    await accuse()
    t.equal(selfOf().incarnation, 2)
  })
})

t.test('a section of this node that it did not write is outbid, at most once a second', async (t) => {
  const { mesh, ask, heard, clock, identity } = await startedLab(t)
  mesh.publish([registration('real')])
  await clock.advance(20)
  // Signed with its identity: by an earlier run of it, or by another node that uses the same.
  const ghost = (version: number, incarnation = 1, unit = 'ghost'): Section =>
    signSection(identity, { owner: mesh.nodeId, incarnation, version, registrations: [registration(unit)] })
  const give = async (section: Section) => {
    heard.length = 0
    const answer = await ask({ kind: 'exchange', batch: { ...EMPTY_BATCH, sections: [section] }, wanted: [] })
    const held = decodeResponse('exchange', answer).held[0]?.sectionVersion
    const said = heard.flatMap(({ sections }) => sections.map((one) => [one.version, one.registrations[0]?.unit]))
    return { held, said }
  }
  t.same(await give(ghost(1)), { held: 2, said: [] }, 'an older version is nothing')
  t.same(await give(ghost(2, 1, 'real')), { held: 2, said: [] }, 'its own echo')
  t.same(await give(ghost(9, 0)), { held: 2, said: [] }, 'nor is one of an earlier run')
  t.same(await give(ghost(2 ** 48)), { held: 2, said: [] }, 'what cannot be outbid is left')
  t.same(await give(ghost(2)), { held: 3, said: [[3, 'real']] })
  t.same(await give(ghost(9)), { held: 3, said: [] }, 'too soon')
  await clock.advance(1_000)
  t.same(await give(ghost(9)), { held: 10, said: [[10, 'real']] })
  await clock.advance(1_000)
  const unsigned = { owner: mesh.nodeId, incarnation: 1, version: 50, registrations: [registration('ghost')] }
  t.same(await give(unsigned), { held: 10, said: [] }, 'what it did not sign, others do not take for its own')
  t.same(mesh.registrations().get(mesh.nodeId)?.[0]?.unit, 'real')
})

t.test('what a peer may not do', async (t) => {
  t.test('a forged record is refused, a replayed one changes nothing', async (t) => {
    const { say, mesh, events, peerIdentity } = await startedLab(t)
    const victim = createIdentity()
    const forged = signRecord(peerIdentity, { ...recordOf(victim).record, incarnation: 9 })
    await say({ records: [forged] })
    t.same(typesOf(events), ['mesh.refused'])
    const old = recordOf(victim, { incarnation: 3 })
    await say({ records: [recordOf(victim, { incarnation: 4, name: 'moved' })] })
    await say({ records: [old] })
    t.equal(mesh.members().find(({ nodeId }) => nodeId === victim.nodeId)?.record?.name, 'moved')
  })

  t.test('garbage is counted and told once, and hurts nothing', async (t) => {
    const { peer, clock, events, log, ask, mesh } = await startedLab(t)
    for (let index = 0; index < 20; index += 1) peer.broadcast(Uint8Array.from([255, index, 255]))
    peer.broadcast(new Uint8Array(2 * 1024 * 1024))
    await clock.advance(20)
    await throwsReason(t, 'NODE_UNREACHABLE', () => ask(Uint8Array.from([255, 255])))
    t.same(typesOf(events), ['mesh.refused'])
    t.equal(log.entries.filter(({ level }) => level === 'warn').length, 1)
    t.equal(decodeResponse('ack', await ask({ kind: 'ping', belief: undefined })).alive, true)
    t.equal(mesh.members().length, 1)
  })

  t.test('a section counts from its owner alone, and for the run of it that is known', async (t) => {
    const { say, mesh, peerIdentity } = await startedLab(t)
    const other = createIdentity()
    const section = (owner: string, incarnation: number, version = 1) => ({
      owner,
      incarnation,
      version,
      registrations: [registration(`v${version}`)],
    })
    await say({ records: [recordOf(peerIdentity, { incarnation: 5, startedIncarnation: 5 }), recordOf(other)] })
    await say({ sections: [section(other.nodeId, 1), section(peerIdentity.nodeId, 4), section(mesh.nodeId, 1, 99)] })
    t.same([...mesh.registrations().keys()], [mesh.nodeId])
    await say({ sections: [section(peerIdentity.nodeId, 5, 2)] })
    await say({ sections: [section(peerIdentity.nodeId, 5, 1)] })
    t.same(mesh.registrations().get(peerIdentity.nodeId)?.[0]?.unit, 'v2')
    await say({ records: [recordOf(peerIdentity, { incarnation: 6, startedIncarnation: 6 })] })
    t.same([...mesh.registrations().keys()], [mesh.nodeId], 'a new run begins with nothing')
  })

  t.test('more requests at once than the bound are refused', async (t) => {
    const { peer, mesh, clock, peerIdentity } = await startedLab(t)
    // The target answers nothing, so each of these stays open until its time is over.
    const request = encodeRequest({ kind: 'indirectPing', target: peerIdentity.nodeId, belief: undefined })
    const answers = Array.from({ length: 40 }, () => peer.request(mesh.nodeId, request, new AbortController().signal))
    const results = Promise.allSettled(answers)
    await clock.advance(1_000)
    const refused = (await results).filter(({ status }) => status === 'rejected')
    t.equal(refused.length, 8)
  })
})

t.test('two nodes with one identity are reported, once a minute, with both addresses', async (t) => {
  const { say, selfOf, identity, events, log, clock } = await startedLab(t)
  const twin = (incarnation: number): SignedRecord =>
    recordOf(identity, { name: 'twin', incarnation, startedIncarnation: incarnation, linkFingerprint: 'cd'.repeat(32) })
  await say({ records: [twin(0)] })
  t.same(typesOf(events), [], 'older than what this node wrote last')
  await say({ records: [twin(7)] })
  t.same(typesOf(events), ['mesh.identity-conflict'])
  t.match(events[0]?.reason, /10\.0\.0\.1:9472.*10\.0\.0\.9:9472/)
  t.equal(selfOf().incarnation, 8)
  await say({ records: [twin(9)] })
  t.equal(log.entries.filter(({ level }) => level === 'error').length, 1)
  await clock.advance(60_000)
  await say({ records: [twin(selfOf().incarnation)] })
  t.same(typesOf(events).filter((type) => type === 'mesh.identity-conflict').length, 2)
})

t.test('an earlier run that was ahead, as after a restored disk, is outbid without alarm', async (t) => {
  const { say, selfOf, identity, events } = await startedLab(t)
  const { linkAddresses, meshAddresses } = selfOf()
  await say({ records: [recordOf(identity, { incarnation: 7, startedIncarnation: 7, linkAddresses, meshAddresses })] })
  t.equal(selfOf().incarnation, 8)
  t.same(events, [])
})

t.test('two nodes with one name are told of, once', async (t) => {
  const { say, peerIdentity, events } = await startedLab(t)
  await say({ records: [recordOf(peerIdentity, { name: 'under-test' })] })
  await say({ records: [recordOf(peerIdentity, { name: 'under-test', recordVersion: 2 })] })
  t.same(typesOf(events), ['member.alive', 'mesh.name-conflict'])
})

t.test('publish', async (t) => {
  t.test('several changes of one turn are one message and one change', async (t) => {
    const { mesh, heard, clock } = await startedLab(t)
    let changes = 0
    mesh.changes.subscribe(() => {
      changes += 1
    })
    heard.length = 0
    mesh.publish([registration('a')])
    mesh.publish([registration('b')])
    mesh.publish([registration('b')])
    t.equal(changes, 0, 'not within the turn')
    await settle()
    t.equal(changes, 1)
    await clock.advance(20)
    t.same(
      heard.flatMap(({ sections }) => sections.map(({ registrations }) => registrations[0]?.unit)),
      ['b'],
    )
  })

  t.test('what others would refuse is refused here', async (t) => {
    const { mesh } = await startedLab(t)
    const refused = [
      Array.from({ length: 4_001 }, (_, index) => registration(`u${index}`)),
      Array.from({ length: 1_800 }, (_, index) => registration(`u${index}`, { address: 'x'.repeat(256) })),
      [registration('x'.repeat(257))],
      [registration('line\nfeed')],
    ]
    for (const registrations of refused) await throwsReason(t, 'LIMIT_EXCEEDED', () => mesh.publish(registrations))
    t.same(mesh.registrations().get(mesh.nodeId), [])
  })

  t.test('a listener that throws harms neither the others nor the mesh', async (t) => {
    const { mesh, log } = await startedLab(t)
    mesh.changes.subscribe(() => {
      throw new Error('listener')
    })
    mesh.publish([registration('a')])
    await settle()
    t.ok(log.entries.some(({ fields }) => fields['cause'] === 'listener'))
  })
})

t.test('flushed believes the receipt, not the mere answer', async (t) => {
  const { mesh, peer, peerIdentity, say, clock } = await startedLab(t)
  await say({ records: [recordOf(peerIdentity)] })
  mesh.publish([registration('a')])
  let lag = 1
  peer.handlers.onRequest = async (_, bytes) => {
    const request = decodeRequest(bytes)
    if (request.kind !== 'exchange')
      return encodeResponse({ kind: 'ack', alive: true, record: undefined, belief: undefined })
    const held = request.batch.sections.map(({ owner, incarnation, version }) => ({
      owner,
      status: 'alive' as const,
      incarnation: 1,
      recordIncarnation: 1,
      recordVersion: 1,
      sectionIncarnation: incarnation,
      sectionVersion: version - lag,
      recordCheck: 0,
    }))
    return encodeResponse({ kind: 'exchange', batch: EMPTY_BATCH, held })
  }
  const timed = async (): Promise<number> => {
    const startedAtMs = clock.nowMs()
    let tookMs = -1
    void mesh.flushed(500).then(() => {
      tookMs = clock.nowMs() - startedAtMs
    })
    await clock.advance(1_000)
    return tookMs
  }
  t.equal(await timed(), 500)
  lag = 0
  t.ok((await timed()) < 20)
})

t.test('a changed address is told to all, and addresses of members go to the transport', async (t) => {
  const { say, transport, clock, heard, selfOf, peerIdentity } = await startedLab(t)
  await say({ records: [recordOf(peerIdentity)] })
  t.same(transport.known.get(peerIdentity.nodeId), ['/ip4/10.0.0.9/tcp/9471'])
  const { recordVersion } = selfOf()
  transport.own = ['/ip4/10.9.9.9/tcp/9471']
  await clock.advance(5_000)
  t.same(selfOf().meshAddresses, ['/ip4/10.9.9.9/tcp/9471'])
  t.equal(selfOf().recordVersion, recordVersion + 1)
  const spoken = heard.flatMap(({ records }) => records.map((record) => parseRecord(record).record))
  t.same(spoken.at(-1)?.meshAddresses, ['/ip4/10.9.9.9/tcp/9471'])
})

t.test('a peer that accepts and never answers does not keep the node from leaving', async (t) => {
  const { mesh, clock, heard } = await startedLab(t)
  const stopped = mesh.stop()
  await clock.advance(lan.leaveTimeoutMs + 10)
  await stopped
  t.same(
    heard.at(-1)?.rumours.map(({ status, nodeId }) => [status, nodeId]),
    [['left', mesh.nodeId]],
  )
})
