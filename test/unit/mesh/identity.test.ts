import { generateKeyPairSync } from 'node:crypto'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import fc from 'fast-check'
import t from 'tap'
import { decodeBase58, encodeBase58 } from '../../../src/mesh/base58.ts'
import { createIdentity, identityFrom, loadIdentity, publicKeyOf, verifySigned } from '../../../src/mesh/identity.ts'
import type { NodeRecord } from '../../../src/mesh/member.ts'
import { compareRecords, isGenuine, parseRecord, signRecord } from '../../../src/mesh/record.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

t.test('base58', async (t) => {
  t.test('gives the vectors of draft-msporny-base58', async (t) => {
    t.equal(encodeBase58(bytes('Hello World!')), '2NEpo7TZRRrLZSi2U')
    t.equal(
      encodeBase58(bytes('The quick brown fox jumps over the lazy dog.')),
      'USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z',
    )
    t.equal(encodeBase58(Uint8Array.of(0, 0, 0x28, 0x7f, 0xb4, 0xcd)), '11233QC4')
    t.equal(encodeBase58(new Uint8Array()), '')
    t.equal(encodeBase58(new Uint8Array(3)), '111')
  })

  t.test('reads back what it wrote', async () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 48 }), (value) => {
        const back = decodeBase58(encodeBase58(value))
        return back !== undefined && Buffer.from(back).equals(value)
      }),
    )
  })

  t.test('text that is not base58, or too long, is nothing', async (t) => {
    for (const text of ['0', 'O', 'I', 'l', 'a b', 'é', 'a\u{1F600}']) t.equal(decodeBase58(text), undefined, text)
    t.equal(decodeBase58('2'.repeat(200)), undefined)
  })
})

t.test('identity', async (t) => {
  t.test('the node id is the one that libp2p gives to the same key', async (t) => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const identity = identityFrom(new Uint8Array(32).fill(seed))
      const publicKey = publicKeyOf(identity.nodeId)
      const key = privateKeyFromRaw(Buffer.concat([identity.privateKey, publicKey ?? new Uint8Array()]))
      t.equal(identity.nodeId, peerIdFromPrivateKey(key).toString())
    }
    t.match(createIdentity().nodeId, /^12D3KooW/)
  })

  t.test('what it signed is verified by its id alone, and by no other', async (t) => {
    const one = createIdentity()
    const other = createIdentity()
    const signature = one.sign(bytes('message'))
    t.equal(verifySigned(one.nodeId, bytes('message'), signature), true)
    t.equal(verifySigned(one.nodeId, bytes('massage'), signature), false)
    t.equal(verifySigned(other.nodeId, bytes('message'), signature), false)
    t.equal(verifySigned(one.nodeId, bytes('message'), signature.subarray(1)), false)
    for (const id of ['', 'x', '0OIl', 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', `${one.nodeId}1`]) {
      t.equal(verifySigned(id, bytes('message'), signature), false, id)
    }
    const { publicKey } = generateKeyPairSync('ed25519')
    t.equal(publicKeyOf(publicKey.export({ format: 'jwk' }).x ?? ''), undefined)
  })

  t.test('is made once and kept', async (t) => {
    const disk = new Map<string, Uint8Array>()
    const log = memoryLog()
    const first = await loadIdentity(simStore(disk), log)
    const again = await loadIdentity(simStore(disk), log)
    t.equal(again.nodeId, first.nodeId)
    t.same(again.privateKey, first.privateKey)
    t.same([...disk.keys()], ['identity.json'])
  })

  t.test('a damaged file, or one whose id and key differ, is set aside and a new identity made', async (t) => {
    const kept = JSON.stringify({ nodeId: createIdentity().nodeId, privateKey: Buffer.alloc(32).toString('base64') })
    for (const damaged of ['{', '{}', 'null', '{"privateKey":"AAAA"}', kept]) {
      const disk = new Map([['identity.json', bytes(damaged)]])
      const log = memoryLog()
      const identity = await loadIdentity(simStore(disk), log)
      t.match(identity.nodeId, /^12D3KooW/)
      t.same(disk.get('identity.json.corrupt-1'), Buffer.from(damaged))
      t.ok(log.entries.some(({ level }) => level === 'error'))
    }
  })
})

t.test('record', async (t) => {
  const identity = createIdentity()
  const record: NodeRecord = {
    nodeId: identity.nodeId,
    name: 'alpha',
    incarnation: 7,
    startedIncarnation: 5,
    recordVersion: 2,
    meshAddresses: ['/ip4/10.0.0.1/tcp/9471'],
    linkAddresses: ['10.0.0.1:9472'],
    linkFingerprint: 'ab'.repeat(32),
    labels: { zone: 'hall-1', __proto__x: 'y' },
    version: '0.1.0',
  }
  const signed = signRecord(identity, record)
  const wire = ({ bytes, signature }: typeof signed): { bytes: Uint8Array; signature: Uint8Array } => ({
    bytes,
    signature,
  })

  t.test('is read as it was written, and genuine', async (t) => {
    const parsed = parseRecord(wire(signed))
    t.same(parsed.record, record)
    t.equal(isGenuine(parsed), true)
  })

  t.test('is not genuine when a single bit of it differs, or another signed it', async (t) => {
    const other = createIdentity()
    const stolen = { ...wire(signed), signature: other.sign(signed.bytes) }
    t.equal(isGenuine(parseRecord(stolen)), false)
    t.equal(isGenuine(parseRecord({ ...wire(signed), signature: identity.sign(signed.bytes) })), false, 'no domain')
    const forged = signRecord(other, { ...record, incarnation: 8 })
    t.equal(isGenuine(parseRecord(wire(forged))), false, 'in the name of another')
    const bent = Uint8Array.from(signed.bytes)
    bent[bent.length - 1] = 6
    t.equal(isGenuine(parseRecord({ ...wire(signed), bytes: bent })), false)
  })

  t.test('beyond its bounds it is refused, whoever signed it', async (t) => {
    const bad: Partial<NodeRecord>[] = [
      { name: '' },
      { name: 'x'.repeat(257) },
      { name: 'a\u001b[31m' },
      { nodeId: 'nobody' },
      { startedIncarnation: 8 },
      { incarnation: 2 ** 50 },
      { linkFingerprint: 'abcd' },
      { meshAddresses: Array.from({ length: 65 }, () => '/ip4/1.2.3.4/tcp/1') },
      { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, ''])) },
    ]
    for (const change of bad) {
      const forged = signRecord(identity, { ...record, ...change })
      await throwsReason(t, 'USAGE', () => parseRecord(wire(forged)))
    }
    await throwsReason(t, 'USAGE', () => parseRecord({ bytes: new Uint8Array(17_000), signature: signed.signature }))
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`l${index}`, 'x'.repeat(256)]))
    await throwsReason(t, 'LIMIT_EXCEEDED', () => signRecord(identity, { ...record, labels }))
  })

  t.test('newer is a higher incarnation, then a higher version', async (t) => {
    t.ok(compareRecords({ ...record, incarnation: 8, recordVersion: 1 }, record) > 0)
    t.ok(compareRecords({ ...record, recordVersion: 3 }, record) > 0)
    t.equal(compareRecords(record, { ...record, name: 'x' }), 0)
  })
})
