import { FRAME_HEAD_BYTES, MAX_FRAME_BYTES } from '../h2/protocol.ts'

/** Before what is read there is room for the beginning of a frame that came with the read before. */
const HEADROOM_BYTES = 65_536

/** What one read may bring. Larger reads cost fewer system calls (measured: 256 kB beats 64 kB by up to 1.45). */
export const READ_BYTES = 262_144

/** For all calls together. The oldest are forgotten first: what is answered soon is not needed for long. */
export const KEPT_BYTES = 4_194_304

/** Four full frames. */
export const SLAB_BYTES = 4 * (FRAME_HEAD_BYTES + MAX_FRAME_BYTES) + 128

const FIRST_SLAB = HEADROOM_BYTES + READ_BYTES

const WORD_BITS = 32

/**
 * The memory in which frames come and go: one region that all sockets are read into, one after the other, and slabs for what is
 * to be sent. All of it is one buffer, because moving bytes within a buffer is the fastest way to copy a few. Memory that
 * was never used is never touched.
 */
export class Arena {
  readonly bytes: Buffer
  /** Sockets may read into it; what it holds is good until the next read. */
  readonly readBuffer: Uint8Array
  readonly readAt = HEADROOM_BYTES
  /** Room for requests that may be sent again. */
  readonly keptAt: number
  /** A slab for what nobody will read. */
  readonly scratch: number
  readonly #slabs: number
  /** A bit for each slab, set while it is free. */
  readonly #free: Int32Array
  #freeSlabs: number

  constructor(slabs: number) {
    this.#slabs = slabs
    this.bytes = Buffer.allocUnsafeSlow(FIRST_SLAB + (slabs + 1) * SLAB_BYTES + KEPT_BYTES)
    this.readBuffer = new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + HEADROOM_BYTES, READ_BYTES)
    this.keptAt = FIRST_SLAB + (slabs + 1) * SLAB_BYTES
    this.scratch = FIRST_SLAB + slabs * SLAB_BYTES
    this.#free = new Int32Array(Math.ceil(slabs / WORD_BITS))
    for (let at = 0; at < slabs; at += 1) this.#mark(at)
    this.#freeSlabs = slabs
  }

  /**
   * Where a free slab begins; undefined when there is none. Always the first: what was touched once stays in memory, and any other order
   * would in time touch all of it, however few are used at once.
   */
  take(): number | undefined {
    if (this.#freeSlabs === 0) return undefined
    let word = 0
    while (this.#free[word] === 0) word += 1
    const bits = this.#free[word] ?? 0
    const lowest = bits & -bits
    this.#free[word] = bits ^ lowest
    this.#freeSlabs -= 1
    return FIRST_SLAB + (word * WORD_BITS + WORD_BITS - 1 - Math.clz32(lowest)) * SLAB_BYTES
  }

  give(slab: number): void {
    this.#mark((slab - FIRST_SLAB) / SLAB_BYTES)
    this.#freeSlabs += 1
  }

  #mark(number: number): void {
    const word = Math.floor(number / WORD_BITS)
    this.#free[word] = (this.#free[word] ?? 0) | (1 << (number % WORD_BITS))
  }

  /** True while so few slabs are left that messages should wait where they are. */
  get scarce(): boolean {
    return this.#freeSlabs * 4 < this.#slabs
  }

  /** Slabs in use. */
  get used(): number {
    return this.#slabs - this.#freeSlabs
  }
}
