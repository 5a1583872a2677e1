import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { decode, encode, packed } from '../../../../src/rpc/xds/fields.ts'
import { decodeMessage, encodeMessage, WireError } from '../../../../src/rpc/xds/wire.ts'

const TABLE = {
  M: {
    n: [1, 'u32'],
    text: [2, 'string'],
    many: [3, 'u32', 'list'],
    chosen: [4, 'bool', 'set'],
    inner: [5, 'M'],
    all: [6, 'M', 'list'],
    raw: [20, 'bytes'],
    long: [7, 'u64'],
  },
} as const

t.test('bytes are those of protobuf', async (t) => {
  // protobuf.dev/programming-guides/encoding: 150 as field 1, "testing" as field 2.
  t.equal(Buffer.from(encodeMessage(TABLE, 'M', { n: 150 })).toString('hex'), '089601')
  t.equal(Buffer.from(encodeMessage(TABLE, 'M', { text: 'testing' })).toString('hex'), '120774657374696e67')
  t.equal(Buffer.from(encodeMessage(TABLE, 'M', { n: 0, text: '', chosen: false })).toString('hex'), '2000')
  t.equal(Buffer.from(encode('Status', { code: -1 })).toString('hex'), '08ffffffffffffffffff01')
})

t.test('what was written is read back', async () => {
  const plain = {
    n: fc.integer({ min: 1, max: 0xffff_ffff }),
    text: fc.string({ minLength: 1, unit: 'binary' }),
    many: fc.array(fc.nat(), { minLength: 1 }),
    chosen: fc.boolean(),
    long: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  }
  const leaf = fc.record(plain, { requiredKeys: [] })
  const all = fc.array(leaf, { minLength: 1, maxLength: 3 })
  const message = fc.record({ ...plain, inner: leaf, all }, { requiredKeys: [] })
  fc.assert(
    fc.property(message, (written) => {
      const read = decodeMessage(TABLE, 'M', encodeMessage(TABLE, 'M', written))
      return isDeepStrictEqual(read, JSON.parse(JSON.stringify(written)))
    }),
    { numRuns: 200 },
  )
})

t.test('garbage is a WireError and nothing else', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        decode('DiscoveryRequest', bytes)
        return true
      } catch (error) {
        return error instanceof WireError
      }
    }),
    { numRuns: 5_000 },
  )
  t.throws(() => decode('Status', Buffer.from('12ff01', 'hex')), WireError, 'cut off')
  t.throws(() => decode('Status', Buffer.from('0a0100', 'hex')), WireError, 'a number that is a text')
})

t.test('unknown fields are skipped, packed numbers are read', async (t) => {
  const foreign = encodeMessage({ X: { z: [99, 'string'], n: [1, 'u32'] } }, 'X', { z: 'new', n: 7 })
  t.same(decodeMessage(TABLE, 'M', foreign), { n: 7 })
  t.same(decodeMessage(TABLE, 'M', Buffer.from('1a03019601', 'hex')), { many: [1, 150] })
})

t.test('messages that nest without end are refused', async (t) => {
  t.throws(() => decodeMessage(TABLE, 'M', nested(60)), WireError)
  t.ok(decodeMessage(TABLE, 'M', nested(20)))
})

function nested(depth: number): Uint8Array {
  let message: Record<string, unknown> = { n: 1 }
  for (let level = 0; level < depth; level += 1) message = { inner: message }
  return encodeMessage(TABLE, 'M', message)
}

t.test('an Any names its message in full', async (t) => {
  t.equal(packed('Router', {}).type_url, 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router')
})
