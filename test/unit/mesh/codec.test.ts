import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import * as pb from '../../../src/mesh/gen/hsu/mesh/v1/mesh_pb.ts'
import {
  decodeBroadcast,
  decodeRequest,
  decodeResponse,
  EMPTY_BATCH,
  encodeBroadcast,
  encodeRequest,
  encodeResponse,
  type PeerRequest,
  type PeerResponse,
} from '../../../src/mesh/gossip/codec.ts'
import { registrationToBytes } from '../../../src/mesh/gossip/items.ts'
import { splitSection, withoutSignature } from '../../../src/mesh/gossip/section-bytes.ts'
import { createRefusals } from '../../../src/mesh/gossip/refusals.ts'
import { createIdentity } from '../../../src/mesh/identity.ts'
import type { Batch, Digest, Rumour, Section } from '../../../src/mesh/member.ts'
import { isGenuineSection, signSection } from '../../../src/mesh/registry/signed-section.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { registration } from '../../support/sim-mesh.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const belief: Rumour = { nodeId: 'n1', status: 'suspect', incarnation: 3, from: 'n2', linkLost: true }
const claim = { schedule: '0 2 * * * UTC', tickMs: 1_735_689_600_000, by: 'n2', active: 1 }
const batch: Batch = {
  records: [{ bytes: Uint8Array.of(1, 2), signature: Uint8Array.of(3) }],
  rumours: [belief, { ...belief, status: 'left', from: '', linkLost: false }],
  sections: [
    {
      owner: 'n1',
      incarnation: 1,
      version: 2,
      registrations: [
        registration('u', { ready: false, ports: {} }),
        registration('v', { schedule: claim, onCall: { holdMs: 5, starts: true } }),
        registration('w', { onCall: { holdMs: 0, starts: false } }),
        registration('x', { version: '2.1', canary: { share: 500, headers: { 'x-canary': '1', 'x-a': '' } } }),
      ],
    },
  ],
  deltas: [
    {
      ...{ owner: 'n1', incarnation: 1, version: 3, baseVersion: 2, removed: [0, 4] },
      changed: [{ at: 7, item: { registration: registration('w'), bytes: registrationToBytes(registration('w')) } }],
      signature: Uint8Array.of(7),
    },
  ],
  rulings: [{ bytes: Uint8Array.of(4), signature: Uint8Array.of(5, 6) }],
}
const digest: Digest = {
  owner: 'n1',
  status: 'dead',
  incarnation: 1,
  recordIncarnation: 2,
  recordVersion: 3,
  sectionIncarnation: 4,
  sectionVersion: 5,
  recordCheck: 4_294_967_295,
}

t.test('what is encoded is decoded the same', async (t) => {
  t.same(decodeBroadcast(encodeBroadcast(batch)), batch)
  const requests: PeerRequest[] = [
    { kind: 'ping', belief: undefined },
    { kind: 'ping', belief },
    { kind: 'indirectPing', target: 'n3', belief },
    { kind: 'compare', view: Uint8Array.of(1), after: 'n2' },
    { kind: 'exchange', batch, wanted: ['n1', 'n2'], wantsRulings: true },
    { kind: 'key', fingerprint: 'ab12' },
  ]
  for (const request of requests) t.same(decodeRequest(encodeRequest(request)), request)
  const responses: PeerResponse[] = [
    { kind: 'ack', alive: true, record: batch.records[0], belief },
    { kind: 'ack', alive: false, record: undefined, belief: undefined },
    { kind: 'compare', same: true, digests: [], next: '', rulings: new Uint8Array() },
    { kind: 'compare', same: false, digests: [digest], next: 'n1', rulings: Uint8Array.of(7) },
    { kind: 'key', key: new Uint8Array(32).fill(7) },
    { kind: 'key', key: undefined },
    { kind: 'exchange', batch: { ...batch, deltas: [] }, held: [digest] },
  ]
  for (const response of responses) t.same(decodeResponse(response.kind, encodeResponse(response)), response)
})

t.test('garbage is refused with USAGE and nothing else', async () => {
  const decoders = [decodeBroadcast, decodeRequest, (bytes: Uint8Array) => decodeResponse('ack', bytes)]
  const valid = [encodeBroadcast(batch), encodeRequest({ kind: 'exchange', batch, wanted: ['n1'] })]
  const bent = fc.tuple(fc.constantFrom(...valid), fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
    const copy = Uint8Array.from(bytes)
    copy[at % copy.length] = value
    return copy
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), bent), (bytes) =>
      decoders.every((decode) => {
        try {
          decode(bytes)
        } catch (error) {
          return error instanceof HsuError && error.reason === 'USAGE'
        }
        return true
      }),
    ),
    { numRuns: 2_000 },
  )
})

t.test('a section with a group that ends and never began is no message', async (t) => {
  const endOfGroup = Uint8Array.of(0x34)
  await throwsReason(t, 'USAGE', () => withoutSignature(endOfGroup))
  await throwsReason(t, 'USAGE', () => splitSection(endOfGroup))
})

t.test('what breaks a bound is refused', async (t) => {
  const broadcast = (fields: Parameters<typeof create<typeof pb.BroadcastSchema>>[1]): Uint8Array =>
    toBinary(pb.BroadcastSchema, create(pb.BroadcastSchema, fields))
  const long = 'x'.repeat(257)
  const section = (registrations: object[]) =>
    broadcast({ sections: [toBinary(pb.SectionSchema, create(pb.SectionSchema, { owner: 'a', registrations }))] })
  const bad: Record<string, Uint8Array> = {
    oversized: new Uint8Array(1024 * 1024 + 1),
    'long id': broadcast({ rumours: [{ nodeId: long, status: pb.MemberStatus.DEAD }] }),
    'no id': broadcast({ rumours: [{ status: pb.MemberStatus.DEAD }] }),
    'huge incarnation': broadcast({ rumours: [{ nodeId: 'a', status: pb.MemberStatus.DEAD, incarnation: 2n ** 60n }] }),
    'many rumours': broadcast({
      rumours: Array.from({ length: 4_001 }, () => ({ nodeId: 'a', status: pb.MemberStatus.DEAD })),
    }),
    'large record': broadcast({ records: [{ record: new Uint8Array(16 * 1024 + 1) }] }),
    'many registrations': section(Array.from({ length: 4_001 }, () => ({ unit: 'u' }))),
    'no unit': section([{}]),
    'escape in a name': section([{ unit: 'u\u001b[2J' }]),
    'many services': section([{ unit: 'u', services: Array.from({ length: 65 }, () => 's') }]),
    'a moment beyond time': section([{ unit: 'u', schedule: { schedule: 's', tickMs: 2n ** 60n } }]),
    'a claim on no schedule': section([{ unit: 'u', schedule: {} }]),
    'a share of more than all': section([{ unit: 'u', canary: { share: 10_001 } }]),
    'a canary with many keys': section([
      { unit: 'u', canary: { headers: Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`k${at}`, ''])) } },
    ]),
    'not a port': section([{ unit: 'u', ports: { a: 65_536 } }]),
  }
  for (const [what, bytes] of Object.entries(bad)) {
    await t.test(what, async (t) => {
      await throwsReason(t, 'USAGE', () => decodeBroadcast(bytes))
    })
  }
  const big = {
    records: Array.from({ length: 80 }, () => ({ bytes: new Uint8Array(16_000), signature: new Uint8Array() })),
  }
  await throwsReason(t, 'LIMIT_EXCEEDED', () => encodeBroadcast({ ...EMPTY_BATCH, ...big }))
})

t.test('what a later version says is passed over, item by item', async (t) => {
  const message = create(pb.BroadcastSchema, {
    rumours: [pb.MemberStatus.UNSPECIFIED, pb.MemberStatus.ALIVE, pb.MemberStatus.DEAD].map((status) => ({
      nodeId: 'a',
      status,
      incarnation: 1n,
    })),
  })
  const { rumours } = decodeBroadcast(toBinary(pb.BroadcastSchema, message))
  t.same(
    rumours.map(({ status }) => status),
    ['dead'],
  )
  await throwsReason(t, 'USAGE', () => decodeRequest(new Uint8Array()))
  await throwsReason(t, 'USAGE', () => decodeResponse('ack', new Uint8Array()))
  const compare = encodeResponse({ kind: 'compare', same: true, digests: [], next: '', rulings: new Uint8Array() })
  await throwsReason(t, 'USAGE', () => decodeResponse('ack', compare))
})

t.test('names that mean something to JavaScript are only names', async (t) => {
  const ports = Object.fromEntries([['__proto__', 1]]) as Record<string, number>
  const one = {
    ...batch,
    sections: [{ owner: 'n1', incarnation: 1, version: 1, registrations: [registration('u', { ports })] }],
  }
  const decoded = decodeBroadcast(encodeBroadcast(one)).sections[0]?.registrations[0]?.ports ?? {}
  t.equal(Object.getPrototypeOf(decoded), Object.prototype)
})

t.test('refusals are all counted, and told once a minute and peer', async (t) => {
  const clock = new SimClock()
  const log = memoryLog()
  const told: string[] = []
  const refusals = createRefusals({ clock, log }, (peer, why) => told.push(`${peer}: ${why}`))
  for (let index = 0; index < 5; index += 1) refusals.note('a', 'garbage')
  refusals.note('b', 'too large')
  await clock.advance(60_000)
  refusals.note('a', 'again')
  t.same(told, ['a: garbage', 'b: too large', 'a: again'])
  t.equal(refusals.total(), 7)
  t.same(
    log.entries.map(({ fields }) => fields['refusedBefore']),
    [0, 0, 4],
  )
})

t.test('a section keeps its signature through a node that does not know all of its fields', async (t) => {
  const identity = createIdentity()
  const section = { owner: identity.nodeId, incarnation: 1, version: 2, registrations: [registration('u')] }
  const signed = signSection(identity, section)
  const passOn = (one: Section): Section =>
    decodeBroadcast(encodeBroadcast({ ...EMPTY_BATCH, sections: [one] })).sections[0] as Section
  t.ok(isGenuineSection(passOn(passOn(signed))))
  t.notOk(isGenuineSection(passOn(section)))
  // As a newer version would write it: with a field 100.
  const { bytes } = signed.signed as { bytes: Uint8Array }
  const newer = Buffer.concat([bytes, Buffer.from([0xa2, 0x06, 0x01, 0x07])])
  const signature = identity.sign(Buffer.concat([Buffer.from('hsu.mesh.v1.Section\n'), newer]))
  t.ok(isGenuineSection(passOn(passOn({ ...section, signed: { bytes: newer, signature } }))))
  t.notOk(isGenuineSection(passOn({ ...section, signed: { bytes: newer, signature: identity.sign(newer) } })))
})
