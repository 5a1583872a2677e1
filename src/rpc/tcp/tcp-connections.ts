import { connect, type Socket } from 'node:net'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import { type Clock, TIMED_OUT } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Random } from '../../base/random.ts'
import type { ConnectionSet } from '../call-listener.ts'
import { parseAddress } from '../address.ts'
import { Flights, late } from '../router/flights.ts'
import { splice } from './splice.ts'

/** An instance that takes connections now. */
export interface TcpTarget {
  /** `host:port` on this host. */
  readonly address: string
  readonly instance: string
}

export interface TcpConnectionsSeams {
  readonly clock: Clock
  readonly random: Random
  /** Where a connection may go now; undefined: nowhere yet. */
  readonly pick: () => TcpTarget | undefined
  /** Starts the unit, or waits for it, until there is a target. @throws HsuError why there is none */
  readonly wake: (signal: AbortSignal) => Promise<void>
  /** A connection goes to an instance, or (`-1`) has ended. */
  readonly count: (instance: string, connections: 1 | -1) => void
  /** A connection was reset, because of `error`. */
  readonly refused: (error: HsuError) => void
}

export interface TcpConnectionsConfig {
  readonly unit: string
  /** How long a connection waits for its unit, in ms. */
  readonly holdMs: () => number
}

/** Between two attempts to connect to a unit that is ready and does not listen yet. */
const DIAL_AGAIN: BackoffPolicy = { minMs: 20, maxMs: 500, factor: 2, jitter: 0.2 }

/** TCP connections that are passed to a unit of this host, whatever they carry; they wait while it starts. */
export class TcpConnections implements ConnectionSet {
  readonly #seams: TcpConnectionsSeams
  readonly #config: TcpConnectionsConfig
  readonly #flights: Flights
  readonly #sockets = new Set<Socket>()
  #whenIdle: (() => void)[] = []

  constructor(seams: TcpConnectionsSeams, config: TcpConnectionsConfig) {
    this.#seams = seams
    this.#config = config
    this.#flights = new Flights(seams.clock)
  }

  /** Connections that wait for the unit. */
  get held(): number {
    return this.#flights.held
  }

  watch(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined) // 'close' follows
    socket.once('close', () => {
      this.#sockets.delete(socket)
      if (this.#sockets.size > 0) return
      for (const idle of this.#whenIdle.splice(0)) idle()
    })
  }

  add(socket: Socket): void {
    void this.#serve(socket)
  }

  sweep(): Promise<void> {
    return Promise.resolve()
  }

  cut(): void {
    // No node connects here.
  }

  closeAll(): void {
    // Only its two ends know when a connection has done its work.
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  idle(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  async #serve(client: Socket): Promise<void> {
    const gone = new AbortController()
    const leave = (): void => gone.abort(new HsuError('CANCELLED', 'the client has gone'))
    client.once('close', leave)
    try {
      const upstream = await this.#reach(gone.signal)
      client.off('close', leave)
      if (client.destroyed) upstream.resetAndDestroy()
      else splice(client, upstream)
    } catch (thrown) {
      if (!gone.signal.aborted) this.#seams.refused(HsuError.from(thrown))
      client.resetAndDestroy()
    }
  }

  /** A connection to an instance, once there is one. @throws HsuError */
  async #reach(signal: AbortSignal): Promise<Socket> {
    const { clock, random, pick } = this.#seams
    const holdMs = this.#config.holdMs()
    const untilMs = clock.nowMs() + holdMs
    let fault: HsuError | undefined
    for (let attempt = 1; ; attempt += 1) {
      const target = pick() ?? (await this.#wait(untilMs - clock.nowMs(), signal))
      if (target !== undefined) {
        const upstream = await this.#dial(target)
        if (!(upstream instanceof HsuError)) return upstream
        fault = upstream
      }
      signal.throwIfAborted()
      const pauseMs = backoffMs(attempt, DIAL_AGAIN, random)
      if (clock.nowMs() + pauseMs >= untilMs) throw fault ?? late(this.#config.unit, holdMs, 'connection')
      await clock.sleep(pauseMs, signal)
    }
  }

  async #wait(leftMs: number, signal: AbortSignal): Promise<TcpTarget | undefined> {
    const { unit, holdMs } = this.#config
    const awaited = {
      key: unit,
      label: `unit '${unit}' to start`,
      begin: (waiting: AbortSignal) => this.#seams.wake(waiting),
    }
    const outcome = await this.#flights.join(awaited, Math.max(0, leftMs), signal)
    if (outcome === TIMED_OUT) throw late(unit, holdMs(), 'connection')
    return this.#seams.pick()
  }

  /** Counted from this moment on, so that the unit is not put to sleep while the connection is on its way to it. */
  #dial({ address, instance }: TcpTarget): Promise<Socket | HsuError> {
    const { count } = this.#seams
    count(instance, 1)
    const socket = connect({ ...parseAddress(address), allowHalfOpen: true })
    return new Promise((resolve) => {
      let cause: unknown
      socket.on('error', (error) => (cause = error))
      socket.once('close', () => {
        count(instance, -1)
        const text = `instance '${instance}' takes no connection at ${address}: ${messageOf(cause)}`
        resolve(new HsuError('NO_ENDPOINT', text, { details: { instance, address }, cause }))
      })
      socket.once('connect', () => resolve(socket))
    })
  }
}
