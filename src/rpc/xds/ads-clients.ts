import type { ServerHttp2Stream } from 'node:http2'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { createWake } from '../../base/wake.ts'
import { createLogLimiter } from '../log-limiter.ts'
import { AdsSession } from './ads-session.ts'
import type { Catalog } from './catalog.ts'
import { decode, encode } from './fields.ts'
import { type GrpcStream, serveStream } from './grpc-stream.ts'
import { understood } from './understood.ts'

/** A client that does not read what it asks for is given up. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024

/** What a client refuses is told of once in this time. */
const COMPLAINT_INTERVAL_MS = 60_000

/** A client that took what it was told acts on it a moment later; measured: 10 ms, at most 234 ms on a busy machine. */
const ACT_MS = 100

export interface AdsClientsSeams {
  readonly clock: Clock
  readonly log: Log
  readonly catalog: Catalog
  /** Differs from one run of a node to the next. */
  readonly incarnation: string
  /** False while clients are to go on with what they know. */
  readonly mayAnswer: () => boolean
}

/** The clients that ask where services are (ADS v3), each on a stream of its own. */
export class AdsClients {
  readonly #seams: AdsClientsSeams
  readonly #sessions = new Set<AdsSession>()
  /** Woken whenever a client may have taken what it was told. */
  readonly #told = createWake()
  readonly #maySay: ReturnType<typeof createLogLimiter>

  constructor(seams: AdsClientsSeams) {
    this.#seams = seams
    this.#maySay = createLogLimiter(seams.clock, COMPLAINT_INTERVAL_MS)
  }

  /** `onClosed`: the stream is over. */
  serve(stream: ServerHttp2Stream, onClosed: () => void): GrpcStream {
    const { catalog, incarnation, mayAnswer, log } = this.#seams
    const session = new AdsSession(
      {
        catalog,
        send: (response) => grpc.send(encode('DiscoveryResponse', response)),
        mayPush: () => grpc.writable,
        mayAnswer,
        onRefused: (kind, client, why) => {
          if (!this.#maySay(`${client} ${kind}`)) return
          log.warn('an xDS client refuses what it was told', { kind, client, why })
        },
      },
      incarnation,
    )
    const grpc = serveStream(stream, {
      onMessage: (message) => {
        if (stream.writableLength > MAX_WAITING_BYTES) throw new HsuError('QUEUE_FULL', 'answers are not read')
        understood(() => session.receive(decode('DiscoveryRequest', message)))
        this.#told.notify()
      },
      onDrained: () => session.sync(),
      onClosed: () => {
        this.#sessions.delete(session)
        onClosed()
        this.#told.notify()
      },
    })
    this.#sessions.add(session)
    return grpc
  }

  /** Tells all of them what has changed. */
  sync(): void {
    for (const session of this.#sessions) session.sync()
    this.#told.notify()
  }

  /** Resolves when those that use one of the names have taken what they were told, or `timeoutMs` has passed. */
  async settled(names: readonly string[], timeoutMs: number): Promise<void> {
    const { clock, log } = this.#seams
    const wanted = new Set(names)
    const users = [...this.#sessions].filter((session) => session.uses(wanted))
    if (users.length === 0) return
    const waiting = async (): Promise<void> => {
      while (users.some((session) => this.#sessions.has(session) && !session.isSettled())) await this.#told.wait()
    }
    const timeLeftMs = Math.max(0, timeoutMs - ACT_MS)
    if ((await within(clock, timeLeftMs, waiting())) === TIMED_OUT) log.debug('xDS clients are slow to acknowledge')
    await clock.sleep(ACT_MS)
  }
}
