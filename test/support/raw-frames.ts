import { connect, type Socket } from 'node:net'
import { lengthAt, putFrameHead, uint31At, uint32At } from '../../src/rpc/h2/frame.ts'
import { type Field, makeField } from '../../src/rpc/h2/field.ts'
import { HpackDecoder } from '../../src/rpc/h2/hpack-decoder.ts'
import { HpackEncoder } from '../../src/rpc/h2/hpack-encoder.ts'
import { Flag, FrameType, PREFACE } from '../../src/rpc/h2/protocol.ts'
import { putSettings } from '../../src/rpc/h2/settings.ts'
import type { Rig } from './call-rig.ts'
import { SERVICE } from './literal-world.ts'
import { until } from './until.ts'

/** A frame as it came. */
export interface RawFrame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

/** A whole frame, right or wrong. */
export function frame(type: number, flags: number, id: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(9 + payload.length)
  bytes.set(payload, putFrameHead(bytes, 0, payload.length, type, flags, id))
  return bytes
}

/** A block of fields, each written `name=value`. */
export function block(texts: readonly string[], encoder = new HpackEncoder()): Buffer {
  const bytes = Buffer.alloc(texts.join('').length + texts.length * 16 + 16)
  let at = encoder.begin(bytes, 0)
  for (const text of texts) {
    const cut = text.indexOf('=')
    at = encoder.encode(makeField(text.slice(0, cut), text.slice(cut + 1)), bytes, at)
  }
  return bytes.subarray(0, at)
}

/** The header of a call of the echo service. */
export function callBlock(method = 'Unary', more: readonly string[] = []): Buffer {
  const path = `:path=/${SERVICE}/${method}`
  return block([
    ':method=POST',
    ':scheme=http',
    path,
    ':authority=x',
    'content-type=application/grpc',
    'te=trailers',
    ...more,
  ])
}

export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6)
  putSettings(payload, 0, pairs)
  return frame(FrameType.settings, 0, 0, payload)
}

export function windowUpdate(id: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return frame(FrameType.windowUpdate, 0, id, payload)
}

export function reset(id: number, code: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(FrameType.reset, 0, id, payload)
}

/** A client that writes bytes and looks at the frames that come back. */
export class RawClient {
  readonly frames: RawFrame[] = []
  readonly socket: Socket
  closed = false
  #left = Buffer.alloc(0)
  readonly #decoder = new HpackDecoder({ maxFields: 512, maxBytes: 65_536 })

  constructor(t: Rig, address: string, hello = Buffer.concat([PREFACE, settings()])) {
    this.socket = connect(Number(address.split(':').at(-1)), '127.0.0.1')
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.closed = true
    })
    this.socket.on('data', (chunk: Buffer) => this.#take(chunk))
    t.teardown(() => this.socket.destroy())
    this.socket.write(hello)
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** The code of the GOAWAY that ended the connection; undefined when it ended without. */
  async ended(): Promise<number | undefined> {
    await until('the connection ends', () => this.closed)
    const goaway = this.frames.findLast(({ type }) => type === FrameType.goaway)
    return goaway === undefined ? undefined : uint32At(goaway.payload, 4)
  }

  /** The frames of a stream, once it is over: with its last frame, or reset. */
  async stream(id: number): Promise<readonly RawFrame[]> {
    const mine = (): RawFrame[] => this.frames.filter((each) => each.id === id && each.type !== FrameType.windowUpdate)
    const isLast = ({ type, flags }: RawFrame): boolean =>
      type === FrameType.reset ||
      ((type === FrameType.data || type === FrameType.headers) && (flags & Flag.endStream) !== 0)
    await until(`stream ${id} ends`, () => mine().some(isLast) || this.closed)
    return mine()
  }

  /** The fields of the blocks of a frame. To be called for all HEADERS in order. */
  fields({ payload }: RawFrame): [name: string, value: string][] {
    const fields: Field[] = []
    const count = this.#decoder.decode(payload, 0, payload.length, fields)
    return fields.slice(0, count).map(({ name, value }) => [name, value])
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#left, chunk])
    while (bytes.length >= 9 && bytes.length >= 9 + lengthAt(bytes, 0)) {
      const end = 9 + lengthAt(bytes, 0)
      this.frames.push({
        type: bytes[3] ?? 0,
        flags: bytes[4] ?? 0,
        id: uint31At(bytes, 5),
        payload: bytes.subarray(9, end),
      })
      bytes = bytes.subarray(end)
    }
    this.#left = bytes
  }
}
