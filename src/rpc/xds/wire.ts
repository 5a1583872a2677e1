/**
 * Protocol buffers by table: as much of proto3 as xDS needs, in a few kB and without generated code, so that the resolver
 * for other programs stays small. Unknown fields are skipped; maps, groups and 32-bit floats do not occur.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */

export type Scalar = 'u32' | 'u64' | 'i32' | 'i64' | 'bool' | 'enum' | 'string' | 'bytes'

/** `list`: repeated. `set`: presence counts (oneof members), so that a default value is sent too. */
export type Mode = 'list' | 'set'

/** Number, type (a scalar or the name of another message of the table) and mode of one field. */
export type FieldSpec = readonly [number: number, type: string, mode?: Mode]

/** Messages by name, fields by name. */
export type Table = Readonly<Record<string, Readonly<Record<string, FieldSpec>>>>

/** A message as this codec takes and gives it; the types of a table say more. */
export type Plain = Readonly<Record<string, unknown>>

const VARINT_TYPES: ReadonlySet<string> = new Set(['u32', 'u64', 'i32', 'i64', 'bool', 'enum'])

const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]

/** Messages in messages; xDS has about eight levels. */
const MAX_DEPTH = 32

/** What the other side sent is no such message. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

export function encodeMessage(table: Table, type: string, message: Plain): Uint8Array {
  const writer = new Writer()
  write(writer, table, type, message)
  return writer.bytes()
}

function write(writer: Writer, table: Table, type: string, message: Plain): void {
  const fields = table[type]
  if (fields === undefined) throw new Error(`no message ${type} in the table`)
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined) continue
    const field = fields[name]
    if (field === undefined) throw new Error(`no field ${type}.${name} in the table`)
    const [number, kind, mode] = field
    if (mode === 'list') for (const each of value as readonly unknown[]) writeOne(writer, table, number, kind, each)
    else if (mode === 'set' || !isDefault(value)) writeOne(writer, table, number, kind, value)
  }
}

function isDefault(value: unknown): boolean {
  return value === 0 || value === '' || value === false
}

function writeOne(writer: Writer, table: Table, number: number, type: string, value: unknown): void {
  if (VARINT_TYPES.has(type)) {
    writer.varint(number * 8 + VARINT)
    writer.varint(Number(value))
    return
  }
  writer.varint(number * 8 + BYTES)
  if (type === 'string') writer.lengthAnd(Buffer.from(value as string))
  else if (type === 'bytes') writer.lengthAnd(value as Uint8Array)
  else writer.lengthAnd(encodeMessage(table, type, value as Plain))
}

class Writer {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  /** `value` is a safe integer; a negative one is sent as 64 bits, as proto3 has it. */
  varint(value: number): void {
    this.#reserve(10)
    let rest = value < 0 ? BigInt.asUintN(64, BigInt(value)) : BigInt(value)
    while (rest > 127n) {
      this.#buffer[this.#length++] = Number(rest & 127n) | 128
      rest >>= 7n
    }
    this.#buffer[this.#length++] = Number(rest)
  }

  lengthAnd(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}

/** @throws WireError when `bytes` is no such message */
export function decodeMessage(table: Table, type: string, bytes: Uint8Array, depth = 0): Plain {
  if (depth > MAX_DEPTH) throw new WireError(`messages nest deeper than ${MAX_DEPTH}`)
  const fields = fieldsByNumber(table, type)
  const reader = new Reader(bytes)
  const message: Record<string, unknown> = {}
  while (!reader.atEnd) {
    const tag = reader.varint()
    const value = reader.value(tag % 8)
    const field = fields.get(Math.floor(tag / 8))
    if (field === undefined) continue
    const { name, type: kind, mode } = field
    const read = (one: number | Uint8Array): unknown => valueOf(table, kind, one, depth)
    if (mode !== 'list') message[name] = read(value)
    else {
      const list = (message[name] ??= []) as unknown[]
      const packed = VARINT_TYPES.has(kind) && typeof value !== 'number'
      for (const each of packed ? unpacked(value) : [value]) list.push(read(each))
    }
  }
  return message
}

function valueOf(table: Table, type: string, value: number | Uint8Array, depth: number): unknown {
  if (VARINT_TYPES.has(type)) {
    if (typeof value !== 'number') throw new WireError(`${type} expected`)
    return type === 'bool' ? value !== 0 : value
  }
  if (typeof value === 'number') throw new WireError(`${type} expected`)
  if (type === 'bytes') return value
  if (type === 'string') return Buffer.from(value.buffer, value.byteOffset, value.length).toString()
  return decodeMessage(table, type, value, depth + 1)
}

function* unpacked(bytes: Uint8Array): Generator<number> {
  const reader = new Reader(bytes)
  while (!reader.atEnd) yield reader.varint()
}

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** Exact up to 2^53; nothing that is read here is larger, and a negative number is only ever compared with 0. */
  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new WireError('cut off')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw new WireError('number too long')
  }

  value(wireType: number): number | Uint8Array {
    if (wireType === VARINT) return this.varint()
    if (wireType === BYTES) return this.#take(this.varint())
    if (wireType === FIXED64) return this.#take(8)
    if (wireType === FIXED32) return this.#take(4)
    throw new WireError(`wire type ${wireType}`)
  }

  #take(length: number): Uint8Array {
    const from = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw new WireError('cut off')
    return this.#bytes.subarray(from, this.#at)
  }
}

interface NumberedField {
  readonly name: string
  readonly type: string
  readonly mode: Mode | undefined
}

const numbered = new WeakMap<object, ReadonlyMap<number, NumberedField>>()

function fieldsByNumber(table: Table, type: string): ReadonlyMap<number, NumberedField> {
  const fields = table[type]
  if (fields === undefined) throw new Error(`no message ${type} in the table`)
  const known = numbered.get(fields)
  if (known !== undefined) return known
  const entries = Object.entries(fields).map(
    ([name, [number, kind, mode]]) => [number, { name, type: kind, mode }] as const,
  )
  const made = new Map(entries)
  numbered.set(fields, made)
  return made
}
