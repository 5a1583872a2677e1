import fc from 'fast-check'
import t from 'tap'
import { type Field, makeField, STATIC_TABLE } from '../../../../src/rpc/h2/field.ts'
import { Kind } from '../../../../src/rpc/h2/field-kind.ts'
import { HpackDecoder } from '../../../../src/rpc/h2/hpack-decoder.ts'
import { HpackEncoder } from '../../../../src/rpc/h2/hpack-encoder.ts'
import { huffmanLength } from '../../../../src/rpc/h2/huffman.ts'
import { IntegerReader, putInteger } from '../../../../src/rpc/h2/integer.ts'

const LIMITS = { maxFields: 512, maxBytes: 65_536 }

type Pair = readonly [name: string, value: string]

function decoded(decoder: HpackDecoder, block: Buffer): Pair[] | number {
  const fields: Field[] = []
  const count = decoder.decode(block, 0, block.length, fields)
  return count < 0 ? count : fields.slice(0, count).map(({ name, value }) => [name, value])
}

function encoded(encoder: HpackEncoder, fields: readonly Field[]): Buffer {
  const bytes = Buffer.alloc(fields.reduce((sum, field) => sum + HpackEncoder.bound(field), 16))
  let at = encoder.begin(bytes, 0)
  for (const field of fields) at = encoder.encode(field, bytes, at)
  return bytes.subarray(0, at)
}

/** What a connection passes on: decoded at one end, encoded again for the other. */
function passOn(from: HpackDecoder, to: HpackEncoder, block: Buffer): Buffer {
  const fields: Field[] = []
  const count = from.decode(block, 0, block.length, fields)
  return encoded(to, fields.slice(0, count))
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

t.test('the examples of RFC 7541 C.3, C.4 (requests) and C.5, C.6 (responses)', async (t) => {
  const first: Pair[] = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ]
  const second: Pair[] = [...first, ['cache-control', 'no-cache']]
  const third: Pair[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ]
  const plain = new HpackDecoder(LIMITS)
  t.same(decoded(plain, hex('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d')), first)
  t.same(decoded(plain, hex('8286 84be 5808 6e6f 2d63 6163 6865')), second)
  t.same(decoded(plain, hex('8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65')), third)
  const huffman = new HpackDecoder(LIMITS)
  t.same(decoded(huffman, hex('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff')), first)
  t.same(decoded(huffman, hex('8286 84be 5886 a8eb 1064 9cbf')), second)
  t.same(decoded(huffman, hex('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf')), third)

  const evicting = new HpackDecoder(LIMITS)
  // The examples of C.5 have a table of 256 bytes.
  t.same(
    decoded(
      evicting,
      hex(
        '3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      ),
    ),
    [
      [':status', '302'],
      ['cache-control', 'private'],
      ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
      ['location', 'https://www.example.com'],
    ],
  )
  t.same(decoded(evicting, hex('4803 3330 37c1 c0bf')), [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['location', 'https://www.example.com'],
  ])
  t.equal(decoded(evicting, hex('c2')), -1, 'the oldest entry made room')
})

t.test('integers come back, and are refused when cut off or too large', async (t) => {
  const reader = new IntegerReader()
  fc.assert(
    fc.property(fc.nat(0xff_ffff), fc.integer({ min: 1, max: 8 }), (value, bits) => {
      const bytes = Buffer.alloc(8)
      const end = putInteger(bytes, 0, 0, bits, value)
      const read = reader.read(bytes, 0, end, bits)
      const whole = reader.next
      reader.read(bytes, 0, end - 1, bits)
      return read === value && whole === end && reader.next === -1
    }),
  )
  reader.read(hex('1fffffffffff0f'), 0, 7, 5)
  t.equal(reader.next, -1)
})

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
const value = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
  maxLength: 60,
})
const block = fc.array(fc.tuple(fc.oneof(name, fc.constantFrom(':path', ':authority', 'te', 'x-a')), value), {
  maxLength: 12,
})

t.test(
  'what is encoded is decoded, block after block, also with fields that recur and when the table shrinks',
  async () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(block, fc.option(fc.nat(8_192))), { maxLength: 40 }), (blocks) => {
        const encoder = new HpackEncoder()
        const decoder = new HpackDecoder(LIMITS)
        const known = new Map<string, Field>()
        for (const [pairs, tableBytes] of blocks) {
          if (tableBytes !== null) encoder.limit(tableBytes)
          for (let twice = 0; twice < 3; twice += 1) {
            const fields = pairs.map(([name, value]) => {
              const key = `${name}\0${value}`
              const field = known.get(key) ?? makeField(name, value, twice > 0)
              known.set(key, field)
              return field
            })
            const result = decoded(decoder, encoded(encoder, fields))
            if (JSON.stringify(result) !== JSON.stringify(pairs)) return false
          }
        }
        return true
      }),
      { numRuns: 60 },
    )
  },
)

t.test('a block that is passed on means the same at the other end, with every form of literal', async () => {
  const form = fc.constantFrom(0x40, 0x00, 0x10)
  fc.assert(
    fc.property(fc.array(fc.array(fc.tuple(form, name, value), { maxLength: 8 }), { maxLength: 20 }), (blocks) => {
      const near = new HpackDecoder(LIMITS)
      const far = new HpackDecoder(LIMITS)
      const between = new HpackEncoder()
      for (const fields of [...blocks, ...blocks]) {
        const bytes = Buffer.concat(
          fields.map(([pattern, name, value]) => {
            const text = Buffer.from(value, 'latin1')
            return Buffer.concat([Buffer.of(pattern, name.length), Buffer.from(name), Buffer.of(text.length), text])
          }),
        )
        const result = decoded(far, passOn(near, between, bytes))
        if (JSON.stringify(result) !== JSON.stringify(fields.map(([, name, value]) => [name, value]))) return false
      }
      return true
    }),
    { numRuns: 60 },
  )
})

t.test('a field that must enter no table stays out of ours, and says so', async (t) => {
  const field = makeField('authorization', 'secret', true)
  field.never = true
  const encoder = new HpackEncoder()
  t.equal(encoded(encoder, [field])[0], 0x1f)
  t.same(encoded(encoder, [field]), encoded(encoder, [field]))
})

t.test('any bytes are decoded or refused, and never more than the limits allow', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder({ maxFields: 8, maxBytes: 500 })
      return blocks.every((bytes) => {
        const fields: Field[] = []
        const count = decoder.decode(Buffer.from(bytes), 0, bytes.length, fields)
        const texts = fields
          .slice(0, Math.max(0, count))
          .reduce((sum, { name, value }) => sum + name.length + value.length, 0)
        return count <= 8 && texts <= 500
      })
    }),
    { numRuns: 2_000 },
  )
})

t.test('a bomb of references is counted and not kept', async (t) => {
  const decoder = new HpackDecoder(LIMITS)
  const long = Buffer.concat([Buffer.of(0x40, 1, 0x61, 0x7f, 0xa1, 0x1e), Buffer.alloc(4_000, 'v')])
  const fields: Field[] = []
  t.equal(decoder.decode(long, 0, long.length, fields), 1)
  const bomb = Buffer.alloc(100_000, 0xbe)
  t.ok(decoder.decode(bomb, 0, bomb.length, fields) < 17)
  t.ok(decoder.oversized)
  t.ok(fields.length < 20)
  const sound = Buffer.of(0xbe)
  t.equal(decoder.decode(sound, 0, 1, fields), 1, 'the table is still in step')
  t.notOk(decoder.oversized)
})

t.test('what is not well formed', async (t) => {
  const refused: Readonly<Record<string, string>> = {
    'index 0': '80',
    'an index beyond the tables': 'be',
    'a table larger than ours': '3fe21f',
    'a table size after a field': '8220',
    'a string that is cut off': '400161ff',
    'padding of more than seven bits': '40016182ffff',
    'padding that is not all ones': '4001618118',
  }
  for (const [what, bytes] of Object.entries(refused)) t.equal(decoded(new HpackDecoder(LIMITS), hex(bytes)), -1, what)
  t.equal(huffmanLength(hex('ffffffff'), 0, 4), -1, 'the end of a string is no symbol')

  const kinds: Readonly<Record<string, string>> = {
    'a name in capitals': '0001410162',
    'an empty name': '00000162',
    'a line break in a value': '000161010a',
    'a line break in a value that is Huffman-coded': '00016184fffffff3',
  }
  for (const [what, bytes] of Object.entries(kinds)) {
    const fields: Field[] = []
    new HpackDecoder(LIMITS).decode(hex(bytes), 0, hex(bytes).length, fields)
    t.equal(fields[0]?.kind, Kind.invalid, what)
  }
})

t.test('the static table', async (t) => {
  t.equal(STATIC_TABLE.length, 62)
  t.match(STATIC_TABLE[16], { name: 'accept-encoding', value: 'gzip, deflate' })
  t.match(STATIC_TABLE[61], { name: 'www-authenticate', value: '' })
  t.same(encoded(new HpackEncoder(), [makeField(':status', '200'), makeField(':method', 'POST')]), hex('8883'))
})
