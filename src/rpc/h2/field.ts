import { kindOfName, Kind } from './field-kind.ts'
import { huffmanLength, huffmanText } from './huffman.ts'
import { IntegerReader, putInteger } from './integer.ts'

const NOTHING = Buffer.alloc(0)
const integers = new IntegerReader()

/**
 * A header field. Name and value are kept as they came, as encoded strings (RFC 7541 5.2), and become text when
 * somebody asks. A field that is found in a table is one and the same object each time, so that whatever is worked out from it
 * can be remembered on it.
 */
export class Field {
  kind: Kind = Kind.plain
  /** Of its name in the static table; 0 = none. */
  nameIndex = 0
  /** Of the whole field in the static table; 0 = none. */
  index = 0
  /** Must never enter a table (RFC 7541 6.2.3). */
  never = false
  /** True when it was found in a table: it will come again, so that it is worth a place in ours. */
  recurs = false
  /** True when its bytes are its own; others are those of a buffer that is about to change. */
  owned = false
  /** As RFC 7541 4.1 counts it. An upper bound for a field that is in no table. */
  size = 0
  bytes: Buffer = NOTHING
  nameBytes: Buffer = NOTHING
  nameAt = 0
  nameLength = 0
  valueAt = 0
  valueLength = 0
  /** The table of an encoder, while it stays as it is, and where the field is in it. */
  epoch: object | undefined
  place = 0
  /** For whoever routes by it. */
  memo: unknown
  #name: string | undefined
  #value: string | undefined
  #key: string | undefined

  get name(): string {
    this.#name ??= textOf(this.nameBytes, this.nameAt)
    return this.#name
  }

  get value(): string {
    this.#value ??= textOf(this.bytes, this.valueAt)
    return this.#value
  }

  /** The same for fields that look the same. */
  get key(): string {
    this.#key ??= `${this.name}\0${this.value}`
    return this.#key
  }

  /** Makes a used one as good as new, with the name given or to be read. */
  reset(name: string | undefined): void {
    this.#name = name
    this.#value = undefined
    this.#key = undefined
    this.index = 0
    this.recurs = false
    this.owned = false
    this.epoch = undefined
    this.memo = undefined
  }

  /** A copy that stays as it is. */
  own(): Field {
    if (this.owned) return this
    const copy = new Field()
    copy.reset(this.#name)
    copy.kind = this.kind
    copy.nameIndex = this.nameIndex
    copy.never = this.never
    copy.size = this.size
    own(copy, this)
    return copy
  }
}

/** Gives `field` bytes of its own, with name and value of `source`. */
export function own(field: Field, source: Field): void {
  const { nameLength, valueLength } = source
  const bytes = Buffer.allocUnsafe(nameLength + valueLength)
  source.nameBytes.copy(bytes, 0, source.nameAt, source.nameAt + nameLength)
  source.bytes.copy(bytes, nameLength, source.valueAt, source.valueAt + valueLength)
  place(field, bytes, nameLength, valueLength)
}

/** Name and value are `bytes`, one after the other. */
function place(field: Field, bytes: Buffer, nameLength: number, valueLength: number): void {
  field.bytes = bytes
  field.nameBytes = bytes
  field.nameAt = 0
  field.nameLength = nameLength
  field.valueAt = nameLength
  field.valueLength = valueLength
  field.owned = true
}

/** A field of our own making; one that `recurs` is put into the tables of encoders. Characters beyond Latin-1 are lost. */
export function makeField(name: string, value: string, recurs = false): Field {
  const field = new Field()
  field.reset(name)
  const nameBytes = encodedString(name)
  const valueBytes = encodedString(value)
  place(field, Buffer.concat([nameBytes, valueBytes]), nameBytes.length, valueBytes.length)
  field.kind = kindOfName(name)
  field.nameIndex = STATIC_NAMES.get(name) ?? 0
  field.index = STATIC_FIELDS.get(field.key) ?? 0
  field.size = name.length + value.length + FIELD_OVERHEAD_BYTES
  field.recurs = recurs
  return field
}

/** What a field counts beside its characters, RFC 7541 4.1. */
export const FIELD_OVERHEAD_BYTES = 32

function encodedString(text: string): Buffer {
  const bytes = Buffer.allocUnsafe(text.length + 6)
  const at = putInteger(bytes, 0, 0, 7, text.length)
  return bytes.subarray(0, at + bytes.write(text, at, 'latin1'))
}

/** The text of an encoded string that is known to be sound. */
function textOf(bytes: Buffer, at: number): string {
  const length = integers.read(bytes, at, bytes.length, 7)
  const start = integers.next
  return ((bytes[at] ?? 0) & 0x80) === 0
    ? bytes.toString('latin1', start, start + length)
    : huffmanText(bytes, start, length)
}

/** The number of characters of an encoded string that ends within `end`; -1 when unsound, -2 with a forbidden character. */
export function charactersOf(bytes: Uint8Array, at: number, end: number): number {
  const length = integers.read(bytes, at, end, 7)
  const start = integers.next
  if (start < 0 || start + length > end) return -1
  if (((bytes[at] ?? 0) & 0x80) !== 0) return huffmanLength(bytes, start, length)
  let forbidden = false
  for (let next = start; next < start + length; next += 1) {
    const byte = bytes[next]
    forbidden ||= byte === 0 || byte === 10 || byte === 13
  }
  return forbidden ? -2 : length
}

/** RFC 7541 Appendix A, from index 1 on; `_` stands for a space. */
const STATIC_TEXT =
  ':authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 ' +
  ':status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset ' +
  'accept-encoding=gzip,_deflate accept-language accept-ranges accept access-control-allow-origin age allow ' +
  'authorization cache-control content-disposition content-encoding content-language content-length ' +
  'content-location content-range content-type cookie date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards ' +
  'proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie ' +
  'strict-transport-security transfer-encoding user-agent vary via www-authenticate'

const STATIC_NAMES = new Map<string, number>()
const STATIC_FIELDS = new Map<string, number>()

/** The static table; its index 0 is not used. */
export const STATIC_TABLE: readonly Field[] = buildStaticTable()

function buildStaticTable(): readonly Field[] {
  const table = [new Field()]
  for (const text of STATIC_TEXT.split(' ')) {
    const [name = '', value = ''] = text.split('=')
    const field = makeField(name, value.replace('_', ' '))
    field.index = table.length
    if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, field.index)
    field.nameIndex = STATIC_NAMES.get(name) ?? 0
    field.recurs = true
    STATIC_FIELDS.set(field.key, field.index)
    table.push(field)
  }
  return table
}
