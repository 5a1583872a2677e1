import { preSharedKey } from '@libp2p/pnet'
import { type MessageStream, StreamMessageEvent } from '@libp2p/interface'
import { HsuError } from '../../base/error.ts'

/** Length of the nonce that each end of a private network connection sends in clear (libp2p specs, pnet). */
export const NONCE_BYTES = 24

/** What a box is made of: the connection below it, the nonce of each end, and the key. */
interface BoxInit {
  readonly maConn: MessageStream
  readonly localNonce: Uint8Array
  readonly remoteNonce: Uint8Array
  readonly psk: Uint8Array
  readonly log: MessageStream['log']
}

/** A pnet box as far as we look inside it. */
interface Box extends MessageStream {
  readonly inboundXor: { update(bytes: Uint8Array): Uint8Array; finalize(): void }
}

type BoxClass = new (init: BoxInit) => Box

/**
 * Makes the boxes of private network connections, that is the streams that encrypt with a key and two nonces.
 *
 * `@libp2p/pnet` has exactly this class, but its face makes boxes of one fixed key with nonces of its own choice. So the
 * class is taken from one that it makes over a connection in memory. The package is pinned exactly, and a test that lets a
 * plain `@libp2p/pnet` talk to ours fails if this changes.
 */
export class BoxMaker {
  readonly #Box: BoxClass

  private constructor(boxClass: BoxClass) {
    this.#Box = boxClass
  }

  static async create(): Promise<BoxMaker> {
    const protector = preSharedKey({ psk: pskFile(new Uint8Array(32)) })()
    const box: object = await protector.protect(memoryConnection(new Uint8Array(NONCE_BYTES)))
    if (!('inboundXor' in box)) throw new HsuError('INTERNAL', 'a box of @libp2p/pnet is not what it was')
    return new BoxMaker(box.constructor as BoxClass)
  }

  /** The stream over `connection` on which what is sent is encrypted, and what comes is decrypted. */
  box(connection: MessageStream, key: Uint8Array, localNonce: Uint8Array, remoteNonce: Uint8Array): MessageStream {
    return new this.#Box({ maConn: connection, localNonce, remoteNonce, psk: key, log: connection.log })
  }

  /** The first bytes that an end with `nonce` has encrypted with `key`, in clear. */
  decrypt(bytes: Uint8Array, key: Uint8Array, nonce: Uint8Array): Uint8Array {
    const connection = memoryConnection(nonce)
    const init = { maConn: connection, localNonce: nonce, remoteNonce: nonce, psk: key, log: connection.log }
    const { inboundXor } = new this.#Box(init)
    const clear = Uint8Array.from(inboundXor.update(bytes))
    inboundXor.finalize()
    return clear
  }
}

/** A mesh key in the text format of a private network key file (libp2p specs, pnet). */
export function pskFile(key: Uint8Array): Uint8Array {
  return new TextEncoder().encode(`/key/swarm/psk/1.0.0/\n/base16/\n${Buffer.from(key).toString('hex')}`)
}

/** As much of a connection as pnet looks at: it hears `nonce` from the other end, and nobody listens there. */
function memoryConnection(nonce: Uint8Array): MessageStream {
  const events = new EventTarget()
  const log = Object.assign(() => undefined, {
    trace: () => undefined,
    error: () => undefined,
    newScope: () => log,
  }) as unknown as MessageStream['log']
  return Object.assign(events, {
    log,
    status: 'open',
    direction: 'outbound',
    push: () => undefined,
    send: () => events.dispatchEvent(new StreamMessageEvent(nonce)),
  }) as unknown as MessageStream
}
