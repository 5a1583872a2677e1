import type { Field } from './field.ts'
import type { HpackDecoder } from './hpack-decoder.ts'

/** The fields of one block. */
export class FieldList {
  readonly fields: Field[] = []
  count = 0
  /** True for a list that stays as it is, and is the same object for each block that looks the same. */
  readonly lasting: boolean
  /** What was worked out from a lasting list. */
  memo: unknown
  /** How those who send it have encoded it. */
  encoded: readonly unknown[] = []

  constructor(lasting: boolean) {
    this.lasting = lasting
  }
}

/** Longer blocks are rarely the same twice. */
const MAX_BYTES = 256

/** Different blocks that are remembered: requests of a few methods, or heads and trailers of their answers. */
const MAX_BLOCKS = 8

interface KnownBlock {
  readonly bytes: Buffer
  /** The table that it was decoded with. */
  readonly generation: number
  readonly list: FieldList
}

/**
 * Decodes blocks and remembers those that come again: calls of one program mostly have the same few bytes for their header, and what
 * these mean is the same as long as the table is.
 */
export class BlockReader {
  readonly #decoder: HpackDecoder
  readonly #scratch: FieldList
  readonly #known: KnownBlock[] = []
  /** Sums of blocks that came once. */
  readonly #seen: number[] = []
  #last = 0
  #next = 0

  /** `scratch` holds lists that are not remembered, each until the next. */
  constructor(decoder: HpackDecoder, scratch: FieldList) {
    this.#decoder = decoder
    this.#scratch = scratch
  }

  /** The last block holds more than the limits of the decoder allow. */
  get oversized(): boolean {
    return this.#decoder.oversized
  }

  /** The fields of a block; undefined when it makes no sense. */
  read(bytes: Buffer, at: number, end: number): FieldList | undefined {
    const short = end - at <= MAX_BYTES
    const known = short ? this.#find(bytes, at, end) : undefined
    if (known !== undefined) return known
    const { generation } = this.#decoder
    const list = this.#scratch
    list.count = this.#decoder.decode(bytes, at, end, list.fields)
    if (list.count < 0) return undefined
    const sameAgain = short && generation === this.#decoder.generation && !this.#decoder.oversized
    return sameAgain ? this.#remember(bytes, at, end, list) : list
  }

  #find(bytes: Buffer, at: number, end: number): FieldList | undefined {
    const count = this.#known.length
    for (let tried = 0, index = this.#last; tried < count; tried += 1, index = index + 1 === count ? 0 : index + 1) {
      const block = this.#known[index]
      if (block === undefined || block.bytes.length !== end - at) continue
      if (block.generation !== this.#decoder.generation || !isSame(block.bytes, bytes, at)) continue
      this.#last = index
      this.#decoder.oversized = false
      return block.list
    }
    return undefined
  }

  /** What comes for the second time is worth remembering. */
  #remember(bytes: Buffer, at: number, end: number, scratch: FieldList): FieldList {
    let sum = end - at
    for (let next = at; next < end; next += 1) sum = (Math.imul(sum, 31) + (bytes[next] ?? 0)) | 0
    const slot = sum & (MAX_BLOCKS - 1)
    if (this.#seen[slot] !== sum) {
      this.#seen[slot] = sum
      return scratch
    }
    const list = new FieldList(true)
    list.count = scratch.count
    for (let index = 0; index < scratch.count; index += 1) {
      const field = scratch.fields[index]?.own()
      if (field === undefined) return scratch
      field.recurs = true
      list.fields.push(field)
    }
    const { generation } = this.#decoder
    this.#known[this.#next] = { bytes: Buffer.from(bytes.subarray(at, end)), generation, list }
    this.#next = (this.#next + 1) % MAX_BLOCKS
    return list
  }
}

function isSame(block: Buffer, bytes: Buffer, at: number): boolean {
  for (let index = 0; index < block.length; index += 1) if (block[index] !== bytes[at + index]) return false
  return true
}
