import { FRAME_HEAD_BYTES, MAX_FRAME_BYTES } from '../h2/protocol.ts'

/** Before what is read there is room for the beginning of a frame that came with the read before. */
const HEADROOM_BYTES = 65_536

/** What one read may bring. Larger reads cost fewer system calls (measured: 256 kB beats 64 kB by up to 1.45). */
export const READ_BYTES = 262_144

/** For all calls together. The oldest are forgotten first: what is answered soon is not needed for long. */
export const KEPT_BYTES = 4_194_304

/** Four full frames. */
export const SLAB_BYTES = 4 * (FRAME_HEAD_BYTES + MAX_FRAME_BYTES) + 128

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
  readonly #free: number[] = []
  readonly #slabs: number

  constructor(slabs: number) {
    this.#slabs = slabs
    this.bytes = Buffer.allocUnsafeSlow(HEADROOM_BYTES + READ_BYTES + (slabs + 1) * SLAB_BYTES + KEPT_BYTES)
    this.readBuffer = new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + HEADROOM_BYTES, READ_BYTES)
    this.keptAt = HEADROOM_BYTES + READ_BYTES + (slabs + 1) * SLAB_BYTES
    this.scratch = HEADROOM_BYTES + READ_BYTES + slabs * SLAB_BYTES
    for (let at = slabs - 1; at >= 0; at -= 1) this.#free.push(HEADROOM_BYTES + READ_BYTES + at * SLAB_BYTES)
  }

  /** Where a free slab begins; undefined when there is none. */
  take(): number | undefined {
    return this.#free.pop()
  }

  give(slab: number): void {
    this.#free.push(slab)
  }

  /** True while so few slabs are left that messages should wait where they are. */
  get scarce(): boolean {
    return this.#free.length * 4 < this.#slabs
  }

  /** Slabs in use. */
  get used(): number {
    return this.#slabs - this.#free.length
  }
}
