import { type Field, FIELD_OVERHEAD_BYTES } from './field.ts'
import { TABLE_BYTES } from './hpack-decoder.ts'
import { putInteger } from './integer.ts'

/** Larger fields would leave little room for others. */
const MAX_ENTRY_BYTES = 512

/** So many fields that found no room: the table is of no use as it is, and begun anew. */
const MAX_SPILLS = 64

const NOT_IN_TABLE = -1
const NO_ROOM = -2

/** At most what one field takes when it is encoded, besides its name and value as they are. */
const FIELD_HEAD_BYTES = 8

/**
 * The sending end of header compression (RFC 7541) on one connection. A field enters the table when it comes a second time, so
 * that what changes with each call stays out. Nothing is ever evicted: a table that is full is emptied as a whole, and until then
 * the place of a field is remembered on the field. Strings are passed on as they came, Huffman-coded or not.
 */
export class HpackEncoder {
  /** Another one whenever the same fields may be encoded otherwise than before. */
  generation = 0
  #epoch: object = {}
  readonly #places = new Map<string, number>()
  #maxSize = TABLE_BYTES
  #size = 0
  #inserted = 0
  #spills = 0
  #announce = false

  /** Takes note of the table that the other side allows. */
  limit(bytes: number): void {
    const size = Math.min(bytes, TABLE_BYTES)
    if (size === this.#maxSize) return
    this.#maxSize = size
    this.#restart()
  }

  /** An upper bound for the bytes that `encode` writes for one field. */
  static bound(field: Field): number {
    return field.nameLength + field.valueLength + FIELD_HEAD_BYTES
  }

  /** True when the next block must begin with an announcement. */
  get announces(): boolean {
    return this.#announce || this.#spills > MAX_SPILLS
  }

  /** To be called before the first field of each block; returns where that goes. */
  begin(bytes: Buffer, at: number): number {
    if (this.#spills > MAX_SPILLS) this.#restart()
    if (!this.#announce) return at
    this.#announce = false
    this.generation += 1
    const next = putInteger(bytes, at, 0x20, 5, 0)
    return this.#maxSize === 0 ? next : putInteger(bytes, next, 0x20, 5, this.#maxSize)
  }

  /** Writes a field and returns where it ends. */
  encode(field: Field, bytes: Buffer, at: number): number {
    if (field.index !== 0) {
      bytes[at] = 0x80 | field.index
      return at + 1
    }
    if (field.epoch !== this.#epoch) this.#find(field)
    if (field.place >= 0) return putInteger(bytes, at, 0x80, 7, 61 + this.#inserted - field.place)
    if (field.place === NOT_IN_TABLE && this.#takes(field)) {
      field.place = this.#inserted
      this.#places.set(field.key, field.place)
      this.#inserted += 1
      this.generation += 1
      this.#size += field.size
      return copyStrings(field, bytes, putInteger(bytes, at, 0x40, 6, field.nameIndex))
    }
    return copyStrings(field, bytes, putInteger(bytes, at, field.never ? 0x10 : 0, 4, field.nameIndex))
  }

  #find(field: Field): void {
    field.epoch = this.#epoch
    field.place = field.recurs ? (this.#places.get(field.key) ?? NOT_IN_TABLE) : NOT_IN_TABLE
  }

  #takes(field: Field): boolean {
    if (!field.recurs || field.never || field.size > MAX_ENTRY_BYTES) return false
    if (this.#size + field.size <= this.#maxSize) return true
    field.place = NO_ROOM
    this.#spills += this.#maxSize > FIELD_OVERHEAD_BYTES ? 1 : 0
    return false
  }

  #restart(): void {
    this.#epoch = {}
    this.#places.clear()
    this.#size = 0
    this.#inserted = 0
    this.#spills = 0
    this.#announce = true
    this.generation += 1
  }
}

/** Up to here a loop is faster than a call of the runtime. */
const SHORT_BYTES = 24

/** The name, unless the static table has it, and the value. */
function copyStrings(field: Field, bytes: Buffer, at: number): number {
  const valueAt = field.nameIndex !== 0 ? at : copy(field.nameBytes, field.nameAt, field.nameLength, bytes, at)
  return copy(field.bytes, field.valueAt, field.valueLength, bytes, valueAt)
}

function copy(from: Buffer, start: number, length: number, to: Buffer, at: number): number {
  if (length > SHORT_BYTES) {
    if (from === to) to.copyWithin(at, start, start + length)
    else from.copy(to, at, start, start + length)
  } else {
    for (let next = 0; next < length; next += 1) to[at + next] = from[start + next] ?? 0
  }
  return at + length
}
