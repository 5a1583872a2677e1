import type { AbortOptions, ConnectionProtector, MessageStream, StreamMessageEvent } from '@libp2p/interface'
import { below, type Random } from '../../base/random.ts'
import { isMarkedWith, markedNonce } from './marked-nonce.ts'
import { BoxMaker, NONCE_BYTES } from './pnet-box.ts'

/** The mesh keys that open a connection now, newest first, at least one; asked for each connection. */
export type KeysInForce = () => readonly Uint8Array[]

/** With this whoever dials begins, encrypted, as soon as both nonces are known (multistream-select 1.0.0). */
const GREETING = new TextEncoder().encode('\x13/multistream/1.0.0\n')

/** How long an end may take to send what it begins with; libp2p has a limit of its own for the whole handshake. */
const BEGIN_MS = 5_000

/**
 * The private network handshake (libp2p specs, pnet) for ends that have several keys, as while a key is replaced. On the
 * wire it is that of `@libp2p/pnet`, which each end may be.
 *
 * Whoever dials chooses: the newest key of ours that the other end has marked its nonce with. If it has marked it with none,
 * it is of a version that does not do that: then any of ours, by chance, so that the next try may do better. Whoever is
 * dialled finds the key by trial: it is the one that makes sense of the first bytes.
 */
export async function ringProtector(keys: KeysInForce, random: Random): Promise<() => ConnectionProtector> {
  const boxes = await BoxMaker.create()

  async function protect(connection: MessageStream, options: AbortOptions = {}): Promise<MessageStream> {
    const signal = options.signal ?? AbortSignal.timeout(BEGIN_MS)
    const own = markedNonce(keys())
    const reader = new Reader(connection)
    try {
      connection.send(own)
      const nonce = Uint8Array.from(await reader.first(NONCE_BYTES, signal))
      if (connection.direction === 'outbound') {
        const theirs = keys().find((key) => isMarkedWith(key, nonce))
        return boxes.box(connection, theirs ?? anyOf(keys(), random), own, nonce)
      }
      const begun = await reader.first(NONCE_BYTES + GREETING.length, signal)
      const key = keyOf(boxes, keys(), nonce, begun.subarray(NONCE_BYTES))
      // Without a key that fits, the handshake ends by itself on what it cannot read.
      return boxes.box(connection, key ?? anyOf(keys(), random), own, nonce)
    } finally {
      reader.release(NONCE_BYTES)
    }
  }

  return () => ({ protect })
}

/** The key with which `bytes`, the first after `nonce`, were encrypted; undefined when it is none of ours. */
function keyOf(boxes: BoxMaker, keys: readonly Uint8Array[], nonce: Uint8Array, bytes: Uint8Array) {
  return keys.find((key) => Buffer.from(GREETING).equals(boxes.decrypt(bytes, key, nonce)))
}

function anyOf(keys: readonly Uint8Array[], random: Random): Uint8Array {
  return keys[below(keys.length, random)] ?? new Uint8Array()
}

/** Holds back what comes in until enough is there, and gives back what nobody took. */
class Reader {
  readonly #connection: MessageStream
  #received = Buffer.alloc(0)
  #ended: Error | undefined
  #wake: () => void = () => undefined

  constructor(connection: MessageStream) {
    this.#connection = connection
    connection.addEventListener('message', this.#onMessage)
    connection.addEventListener('close', this.#onClose)
  }

  /** The first `count` bytes; they stay here. @throws Error when the connection closes before, the signal's reason */
  async first(count: number, signal: AbortSignal): Promise<Uint8Array> {
    const abort = (): void => this.#wake()
    signal.addEventListener('abort', abort)
    try {
      while (this.#received.length < count) {
        signal.throwIfAborted()
        if (this.#ended !== undefined) throw this.#ended
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      return this.#received.subarray(0, count)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Ends the holding back: all but the first `taken` bytes are there to be read again. */
  release(taken: number): void {
    this.#connection.removeEventListener('message', this.#onMessage)
    this.#connection.removeEventListener('close', this.#onClose)
    const rest = Uint8Array.from(this.#received.subarray(taken))
    if (rest.length > 0 && this.#connection.status === 'open') this.#connection.unshift(rest)
  }

  readonly #onMessage = ({ data }: StreamMessageEvent): void => {
    this.#received = Buffer.concat([this.#received, data.subarray()])
    this.#wake()
  }

  readonly #onClose = (): void => {
    this.#ended = new HandshakeCutError()
    this.#wake()
  }
}

/** The other end hung up; to a stranger every member does. Known by its name, for libp2p passes errors on as they are. */
class HandshakeCutError extends Error {
  override readonly name = 'HandshakeCutError'

  constructor() {
    super('the connection closed before both ends had said who they are')
  }
}
