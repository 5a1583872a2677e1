import type { Field } from '../h2/field.ts'
import { putFrameHead, putUint32 } from '../h2/frame.ts'
import type { FieldList } from '../h2/field-list.ts'
import { HpackEncoder } from '../h2/hpack-encoder.ts'
import { Flag, FRAME_HEAD_BYTES, FrameType, MAX_FRAME_BYTES, PREFACE } from '../h2/protocol.ts'
import { putSettings } from '../h2/settings.ts'
import type { Output } from './output.ts'

/** Room for the announcement of a table size before the first field. */
const BLOCK_HEAD_BYTES = 16

/** Longer ones are encoded each time. */
const MAX_KNOWN_BYTES = 1_024

/** Lists whose encoded form a writer remembers, and writers that a list remembers. */
const MAX_KNOWN = 64
const MAX_WRITERS = 8

/** A list as one writer encodes it. */
interface KnownBlock {
  readonly writer: FrameWriter
  readonly generation: number
  /** What was added to the list. */
  readonly added: readonly Field[]
  readonly block: Buffer
}

const NOTHING: readonly Field[] = []

/** Writes frames of one connection. */
export class FrameWriter {
  readonly encoder = new HpackEncoder()
  readonly #output: Output
  readonly #bytes: Buffer
  readonly #known: Map<FieldList, KnownBlock> | undefined

  /**
   * Answers of a few units go to many callers, and requests of many callers to a few units: what is `keepsLists` for the writer to a
   * caller is remembered with the list by the writer to a unit.
   */
  constructor(output: Output, keepsLists: boolean) {
    this.#output = output
    this.#known = keepsLists ? new Map<FieldList, KnownBlock>() : undefined
    this.#bytes = output.arena.bytes
  }

  preface(): void {
    const at = this.#output.reserve(PREFACE.length)
    this.#bytes.set(PREFACE, at)
    this.#output.wrote(PREFACE.length)
  }

  settings(settings: readonly (readonly [id: number, value: number])[]): void {
    const at = this.#begin(settings.length * 6, FrameType.settings, 0, 0)
    putSettings(this.#bytes, at, settings)
  }

  acknowledgeSettings(): void {
    this.#begin(0, FrameType.settings, Flag.ack, 0)
  }

  /** `bytes` holds the eight bytes of the ping at `from`. */
  ping(bytes: Uint8Array, from: number, ack: boolean): void {
    const at = this.#begin(8, FrameType.ping, ack ? Flag.ack : 0, 0)
    for (let next = 0; next < 8; next += 1) this.#bytes[at + next] = bytes[from + next] ?? 0
  }

  goaway(lastStreamId: number, code: number): void {
    putUint32(this.#bytes, putUint32(this.#bytes, this.#begin(8, FrameType.goaway, 0, 0), lastStreamId), code)
  }

  reset(id: number, code: number): void {
    putUint32(this.#bytes, this.#begin(4, FrameType.reset, 0, id), code)
  }

  windowUpdate(id: number, bytes: number): void {
    putUint32(this.#bytes, this.#begin(4, FrameType.windowUpdate, 0, id), bytes)
  }

  /** Part of a message, one frame at most. */
  data(id: number, from: Buffer, start: number, length: number, end: boolean): void {
    const at = this.#begin(length, FrameType.data, end ? Flag.endStream : 0, id)
    if (from === this.#bytes) from.copyWithin(at, start, start + length)
    else if (length > 0) from.copy(this.#bytes, at, start, start + length)
  }

  /** The first `count` of `fields`, which may be of a buffer that is about to change. */
  headers(id: number, fields: readonly Field[], count: number, end: boolean): void {
    let bound = FRAME_HEAD_BYTES + BLOCK_HEAD_BYTES
    for (let at = 0; at < count; at += 1) {
      const field = fields[at]
      if (field !== undefined) bound += field.index === 0 ? HpackEncoder.bound(field) : 1
    }
    if (bound > MAX_FRAME_BYTES) {
      this.#longHeaders(id, fields, count, end, bound)
      return
    }
    const start = this.#output.reserve(bound)
    const stop = this.#encode(fields, count, this.#bytes, start + FRAME_HEAD_BYTES)
    const flags = Flag.endHeaders | (end ? Flag.endStream : 0)
    putFrameHead(this.#bytes, start, stop - start - FRAME_HEAD_BYTES, FrameType.headers, flags, id)
    this.#output.wrote(stop - start)
  }

  /**
   * The fields of a lasting list, and `added` after them, which is the same object whenever it holds the same. What `leaves` is true for
   * is left out, the same of one list each time.
   */
  list(
    id: number,
    list: FieldList,
    end: boolean,
    leaves?: (field: Field) => boolean,
    added: readonly Field[] = NOTHING,
  ): void {
    const known = this.#known === undefined ? this.#knownIn(list) : this.#known.get(list)
    if (known === undefined || known.generation !== this.encoder.generation || known.added !== added) {
      this.#newList(id, list, end, leaves, added)
      return
    }
    const { block } = known
    const at = this.#begin(block.length, FrameType.headers, Flag.endHeaders | (end ? Flag.endStream : 0), id)
    for (let next = 0; next < block.length; next += 1) this.#bytes[at + next] = block[next] ?? 0
  }

  #newList(
    id: number,
    list: FieldList,
    end: boolean,
    leaves: ((field: Field) => boolean) | undefined,
    added: readonly Field[],
  ): void {
    const left = leaves === undefined ? list.fields : list.fields.filter((field) => !leaves(field))
    const fields = [...left, ...added]
    this.headers(id, fields, fields.length, end)
    if (this.encoder.announces) return
    // Once more, as it will be from now on: what was new in this one is in the table now.
    const block = Buffer.allocUnsafe(fields.reduce((sum, field) => sum + HpackEncoder.bound(field), BLOCK_HEAD_BYTES))
    const { generation } = this.encoder
    const length = this.#encode(fields, fields.length, block, 0)
    if (generation !== this.encoder.generation) throw new Error('a block is encoded differently a second time')
    if (length > MAX_KNOWN_BYTES) return
    this.#remember(list, { writer: this, generation, added, block: block.subarray(0, length) })
  }

  #knownIn({ encoded }: FieldList): KnownBlock | undefined {
    for (const known of encoded as KnownBlock[]) if (known.writer === this) return known
    return undefined
  }

  #remember(list: FieldList, known: KnownBlock): void {
    if (this.#known !== undefined) {
      if (this.#known.size >= MAX_KNOWN) this.#known.clear()
      this.#known.set(list, known)
      return
    }
    const others = (list.encoded as KnownBlock[]).filter(({ writer }) => writer !== this)
    list.encoded = [...others, known].slice(-MAX_WRITERS)
  }

  #longHeaders(id: number, fields: readonly Field[], count: number, end: boolean, bound: number): void {
    const block = Buffer.allocUnsafe(bound)
    const length = this.#encode(fields, count, block, 0)
    for (let from = 0; from < length; from += MAX_FRAME_BYTES) {
      const part = Math.min(MAX_FRAME_BYTES, length - from)
      const first = from === 0
      const flags = (first && end ? Flag.endStream : 0) | (from + part === length ? Flag.endHeaders : 0)
      const at = this.#begin(part, first ? FrameType.headers : FrameType.continuation, flags, id)
      block.copy(this.#bytes, at, from, from + part)
    }
  }

  #encode(fields: readonly Field[], count: number, to: Buffer, at: number): number {
    let next = this.encoder.begin(to, at)
    for (let index = 0; index < count; index += 1) {
      const field = fields[index]
      if (field !== undefined) next = this.encoder.encode(field, to, next)
    }
    return next
  }

  /** Returns where the payload goes, which must be written before anything else. */
  #begin(length: number, type: number, flags: number, id: number): number {
    const size = FRAME_HEAD_BYTES + length
    const at = this.#output.reserve(size)
    this.#output.wrote(size)
    return putFrameHead(this.#bytes, at, length, type, flags, id)
  }
}
