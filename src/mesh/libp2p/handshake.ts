import type {
  ConnectionEncrypter,
  ConnectionProtector,
  MessageStream,
  MultiaddrConnection,
  StreamCloseEvent,
} from '@libp2p/interface'

/** How a handshake ended before both sides had shown that they have the same mesh key. */
export interface FailedHandshake {
  readonly connection: MultiaddrConnection
  /** We could not understand the other side; false when it was the other side that hung up. */
  readonly local: boolean
}

/**
 * Watches for handshakes that fail because of the mesh key. With the pre-shared key (libp2p specs, pnet) both sides send
 * a nonce in clear and all else encrypted, so two different keys show as garbage right after the nonces. A handshake
 * that gets as far as the encrypter had the right key: how that one ends is no business of the key.
 */
export class HandshakeWatch {
  readonly #onFailed: (failed: FailedHandshake) => void
  readonly #underlying = new WeakMap<MessageStream, MessageStream>()
  readonly #agreed = new WeakSet<MessageStream>()

  constructor(onFailed: (failed: FailedHandshake) => void) {
    this.#onFailed = onFailed
  }

  protector(inner: () => ConnectionProtector): () => ConnectionProtector {
    return () => {
      const protector = inner()
      return {
        protect: async (connection, options) => {
          const box = await protector.protect(connection, options)
          this.#underlying.set(box, connection)
          this.#watch(connection as MultiaddrConnection)
          return box
        },
      }
    }
  }

  encrypter<Components, Extension>(
    inner: (components: Components) => ConnectionEncrypter<Extension>,
  ): (components: Components) => ConnectionEncrypter<Extension> {
    return (components) => {
      const encrypter = inner(components)
      return {
        protocol: encrypter.protocol,
        secureInbound: (connection, options) => encrypter.secureInbound(this.#agree(connection), options),
        secureOutbound: (connection, options) => encrypter.secureOutbound(this.#agree(connection), options),
      }
    }
  }

  #agree(box: MessageStream): MessageStream {
    const connection = this.#underlying.get(box)
    if (connection !== undefined) this.#agreed.add(connection)
    return box
  }

  #watch(connection: MultiaddrConnection): void {
    const ended = (event: StreamCloseEvent): void => {
      if (!this.#agreed.has(connection)) this.#onFailed({ connection, local: event.local === true })
    }
    connection.addEventListener('close', ended, { once: true })
  }
}
