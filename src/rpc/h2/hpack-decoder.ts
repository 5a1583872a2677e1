import { charactersOf, Field, FIELD_OVERHEAD_BYTES, own, STATIC_TABLE } from './field.ts'
import { Kind, kindOfName } from './field-kind.ts'
import { IntegerReader } from './integer.ts'

/** The size of the dynamic table that we allow, the one that everybody starts with (RFC 9113 6.5.2). */
export const TABLE_BYTES = 4_096

/** As many entries as can fit, each of them counting 32 bytes at least; a power of two. */
const RING = TABLE_BYTES / FIELD_OVERHEAD_BYTES

const LAST_STATIC = 61

/** Fields of one block that need no object of their own. */
const TRANSIENT = 64

/** What a block may hold; one with more is decoded all the same, so that both ends keep the same table. */
export interface BlockLimits {
  readonly maxFields: number
  /** As RFC 9113 6.5.2 counts the size of a list. */
  readonly maxBytes: number
}

/** The receiving end of header compression (RFC 7541) on one connection. */
export class HpackDecoder {
  /** After `decode`: the block holds more than the limits allow, and the rest was left out. */
  oversized = false
  /** Another one whenever the table is another one than before. */
  generation = 0
  readonly #limits: BlockLimits
  readonly #integers = new IntegerReader()
  readonly #transient: Field[] = []
  readonly #ring: (Field | undefined)[] = []
  #maxSize = TABLE_BYTES
  #size = 0
  #inserted = 0
  #count = 0
  #listBytes = 0
  #found = 0

  constructor(limits: BlockLimits) {
    this.#limits = limits
  }

  /**
   * Decodes a whole block into `out`, from its first place on, and returns how many fields there are; -1 when the block makes
   * no sense, which ends the connection. Fields that are not `owned` are good until `bytes` change or the next call.
   */
  decode(bytes: Buffer, at: number, end: number, out: Field[]): number {
    this.oversized = false
    this.#listBytes = 0
    this.#found = 0
    let transient = 0
    for (let next = at; next < end; ) {
      const first = bytes[next] ?? 0
      if ((first & 0x80) !== 0) {
        const field = this.#fieldAt(this.#integers.read(bytes, next, end, 7))
        next = this.#integers.next
        if (next < 0 || field === undefined) return -1
        field.recurs = true
        this.#add(field, out)
      } else if ((first & 0xe0) === 0x20) {
        const size = this.#integers.read(bytes, next, end, 5)
        next = this.#integers.next
        // Only before the first field of a block, RFC 7541 4.2.
        if (next < 0 || size > TABLE_BYTES || this.#found > 0) return -1
        this.#maxSize = size
        this.generation += 1
        this.#evict(0)
      } else {
        const indexed = (first & 0x40) !== 0
        const field = indexed ? new Field() : this.#transientField(transient++)
        next = this.#literal(bytes, next, end, field)
        if (next < 0) return -1
        if (indexed) this.#insert(field)
        this.#add(field, out)
      }
    }
    return this.#found
  }

  #fieldAt(index: number): Field | undefined {
    if (index <= LAST_STATIC) return index === 0 ? undefined : STATIC_TABLE[index]
    const back = index - LAST_STATIC
    return back > this.#count ? undefined : this.#ring[(this.#inserted - back) & (RING - 1)]
  }

  #transientField(at: number): Field {
    const known = this.#transient[at]
    if (known !== undefined) return known
    const field = new Field()
    if (at < TRANSIENT) this.#transient[at] = field
    return field
  }

  /** Reads a literal; returns where it ends, -1 when it makes no sense. */
  #literal(bytes: Buffer, at: number, end: number, field: Field): number {
    const first = bytes[at] ?? 0
    const index = this.#integers.read(bytes, at, end, (first & 0x40) !== 0 ? 6 : 4)
    let next = this.#integers.next
    if (next < 0) return -1
    let nameCharacters = 0
    if (index > 0) {
      const named = this.#fieldAt(index)
      if (named === undefined) return -1
      field.reset(named.name)
      field.kind = named.kind
      field.nameIndex = named.nameIndex
      field.nameBytes = named.nameBytes
      field.nameAt = named.nameAt
      field.nameLength = named.nameLength
      nameCharacters = named.name.length
    } else {
      nameCharacters = charactersOf(bytes, next, end)
      if (nameCharacters === -1) return -1
      field.reset(undefined)
      field.nameBytes = bytes
      field.nameAt = next
      next = this.#endOfString(bytes, next, end)
      field.nameLength = next - field.nameAt
      field.nameIndex = 0
      field.kind = kindOfName(field.name)
    }
    field.never = (first & 0xf0) === 0x10
    const characters = charactersOf(bytes, next, end)
    if (characters === -1) return -1
    if (characters === -2) field.kind = Kind.invalid
    field.bytes = bytes
    field.valueAt = next
    next = this.#endOfString(bytes, next, end)
    field.valueLength = next - field.valueAt
    field.size = Math.max(0, nameCharacters) + Math.max(0, characters) + FIELD_OVERHEAD_BYTES
    return next
  }

  #endOfString(bytes: Buffer, at: number, end: number): number {
    const length = this.#integers.read(bytes, at, end, 7)
    return this.#integers.next + length
  }

  #insert(field: Field): void {
    own(field, field)
    this.generation += 1
    this.#evict(field.size)
    if (field.size > this.#maxSize) return
    this.#ring[this.#inserted & (RING - 1)] = field
    this.#inserted += 1
    this.#count += 1
    this.#size += field.size
  }

  #evict(room: number): void {
    while (this.#count > 0 && this.#size + room > this.#maxSize) {
      const oldest = (this.#inserted - this.#count) & (RING - 1)
      this.#size -= this.#ring[oldest]?.size ?? 0
      this.#ring[oldest] = undefined
      this.#count -= 1
    }
  }

  #add(field: Field, out: Field[]): void {
    this.#listBytes += field.size
    if (this.#found >= this.#limits.maxFields || this.#listBytes > this.#limits.maxBytes) this.oversized = true
    else out[this.#found++] = field
  }
}
