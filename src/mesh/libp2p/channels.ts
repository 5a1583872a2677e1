import type { Connection } from '@libp2p/interface'
import { withSignal } from '../../base/abort.ts'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import { Channel, CHANNEL_PROTOCOL, fitsChannel, TOO_LARGE } from './channel.ts'
import { exchange } from './exchange.ts'

/** How long it may take to agree on a channel over a connection that stands. */
const OPEN_MS = 5_000

/** The peer does not know channels: it is of an earlier version. */
const NOT_KNOWN = Symbol('the peer has no channels')

type Opened = Channel | typeof NOT_KNOWN

/**
 * Asks peers: small requests go over one long-lived stream a connection, which costs a fraction of a stream for each; large
 * ones, and all to peers of an earlier version, over streams of their own, so that nothing small waits behind them.
 */
export class Channels {
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #opened = new WeakMap<Connection, Opened>()
  readonly #opening = new WeakMap<Connection, Promise<Opened>>()

  /** @param signal ends what is being opened */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
  }

  /** @throws HsuError TIMED_OUT when `signal` aborts, LIMIT_EXCEEDED when a message is too large, NODE_UNREACHABLE otherwise */
  async request(connection: Connection, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (!fitsChannel(bytes)) return exchange(connection, bytes, signal)
    const opened = this.#isUsable(connection) ?? (await unlessAborted(this.#open(connection), connection, signal))
    if (opened === NOT_KNOWN) return exchange(connection, bytes, signal)
    const answer = await opened.request(bytes, signal)
    return answer === TOO_LARGE ? exchange(connection, bytes, signal) : answer
  }

  #isUsable(connection: Connection): Opened | undefined {
    const opened = this.#opened.get(connection)
    return opened === NOT_KNOWN || opened?.isOpen === true ? opened : undefined
  }

  /** Requests that come while a channel is being opened share it. */
  #open(connection: Connection): Promise<Opened> {
    const under = this.#opening.get(connection)
    if (under !== undefined) return under
    const opening = this.#negotiate(connection)
      .then((opened) => {
        this.#opened.set(connection, opened)
        return opened
      })
      .finally(() => this.#opening.delete(connection))
    this.#opening.set(connection, opening)
    return opening
  }

  async #negotiate(connection: Connection): Promise<Opened> {
    const peer = connection.remotePeer.toString()
    try {
      return await withSignal(this.#signal, async (signal) => {
        const stream = await within(this.#clock, OPEN_MS, connection.newStream(CHANNEL_PROTOCOL, { signal }))
        if (stream === TIMED_OUT) throw new Error(`no channel within ${OPEN_MS} ms`)
        return new Channel(stream, peer)
      })
    } catch (error) {
      if (error instanceof Error && error.name === 'UnsupportedProtocolError') return NOT_KNOWN
      const message = `no channel to ${peer}: ${messageOf(error)}`
      throw new HsuError('NODE_UNREACHABLE', message, { details: { peer }, cause: error })
    }
  }
}

/** @throws HsuError TIMED_OUT as soon as `signal` aborts; the task goes on for others */
function unlessAborted<T>(task: Promise<T>, { remotePeer }: Connection, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      const peer = remotePeer.toString()
      reject(new HsuError('TIMED_OUT', `no answer from ${peer} in time`, { details: { peer } }))
    }
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    task.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
