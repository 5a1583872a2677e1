import type { FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { constants, crc32, deflateRaw, inflateRaw } from 'node:zlib'

/**
 * Files of gzip members (RFC 1952), each with so many bytes of the content. Any gzip program reads them as one stream; and as
 * each member says in an extra field how long it is, both ways, any part is found without unpacking what lies before.
 */
export const MEMBER_BYTES = 256 * 1024

const HEADER_BYTES = 24
const TRAILER_BYTES = 8
/** The identification of our extra field (RFC 1952, 2.3.1.1). */
const FIELD = { id: 'HS', bytes: 8 } as const

const deflate = promisify<Buffer, { level: number }, Buffer>(deflateRaw)
const inflate = promisify<Buffer, Buffer>(inflateRaw)

/** One member that holds `content`. */
export async function packMember(content: Buffer): Promise<Buffer> {
  const packed = await deflate(content, { level: constants.Z_BEST_SPEED })
  const header = Buffer.alloc(HEADER_BYTES)
  // Magic, deflate, FLG.FEXTRA; no time; no hints; unknown system.
  header.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255])
  header.writeUInt16LE(4 + FIELD.bytes, 10)
  header.write(FIELD.id, 12, 'latin1')
  header.writeUInt16LE(FIELD.bytes, 14)
  header.writeUInt32LE(HEADER_BYTES + packed.length + TRAILER_BYTES, 16)
  header.writeUInt32LE(content.length, 20)
  const trailer = Buffer.alloc(TRAILER_BYTES)
  trailer.writeUInt32LE(crc32(content), 0)
  trailer.writeUInt32LE(content.length, 4)
  return Buffer.concat([header, packed, trailer])
}

interface Member {
  /** In the file. */
  readonly at: number
  readonly bytes: number
  /** In the content. */
  readonly start: number
  readonly length: number
}

/** Reads any part of a file of such members. Holds one member unpacked. */
export class PackedReader {
  readonly #handle: FileHandle
  readonly #members: readonly Member[]
  #unpacked: { readonly member: Member; readonly content: Buffer } | undefined

  private constructor(handle: FileHandle, members: readonly Member[]) {
    this.#handle = handle
    this.#members = members
  }

  static async open(handle: FileHandle): Promise<PackedReader> {
    const { size } = await handle.stat()
    const members: Member[] = []
    const header = Buffer.alloc(HEADER_BYTES)
    for (let at = 0, start = 0; at < size; ) {
      const { bytesRead } = await handle.read(header, 0, HEADER_BYTES, at)
      const bytes = header.readUInt32LE(16)
      const length = header.readUInt32LE(20)
      const ours = bytesRead === HEADER_BYTES && header.toString('latin1', 12, 14) === FIELD.id
      // Damaged from here on: what lies before can still be read.
      if (!ours || bytes < HEADER_BYTES + TRAILER_BYTES || at + bytes > size) break
      members.push({ at, bytes, start, length })
      at += bytes
      start += length
    }
    return new PackedReader(handle, members)
  }

  /** Bytes of the content. */
  get size(): number {
    const last = this.#members.at(-1)
    return last === undefined ? 0 : last.start + last.length
  }

  /** `length` bytes of the content from `offset` on; fewer only at its end. */
  async read(offset: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (const member of this.#members) {
      if (offset + length <= member.start) break
      if (offset >= member.start + member.length) continue
      const content = await this.#unpack(member)
      parts.push(content.subarray(Math.max(0, offset - member.start), offset + length - member.start))
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }

  async #unpack(member: Member): Promise<Buffer> {
    if (this.#unpacked?.member !== member) {
      const packed = Buffer.alloc(member.bytes)
      await this.#handle.read(packed, 0, member.bytes, member.at)
      this.#unpacked = { member, content: await inflate(packed.subarray(HEADER_BYTES, -TRAILER_BYTES)) }
    }
    return this.#unpacked.content
  }
}
