import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { Caller } from '../target.ts'
import type { Delivery } from './delivery.ts'
import { Downstream, type DownstreamHost } from './downstream.ts'
import type { Fault, FaultReason } from './fault.ts'

/** What the connections of a listener need of their surroundings. */
export interface ConnectionsSeams {
  readonly clock: Clock
  readonly log: Log
  /** Takes their calls. */
  readonly delivery: Delivery
  /** Told of each fault of a caller. */
  readonly onFault?: (fault: Fault) => void
}

/** `active`: only connections that sent something are asked whether they still work; `all`: also silent ones. */
export type PingPolicy = 'active' | 'all'

/** A connection that has not shown its SETTINGS by then is no HTTP/2 client; nor is one whose header block takes as long. */
const GREETING_TIMEOUT_MS = 10_000

/** How often connections are looked at. */
const SWEEP_INTERVAL_MS = 3_000

/**
 * Looks at which a ping may be unanswered before the connection is ended. A client on this host may be busy for as
 * long as gRPC servers wait by default (20 s); a host that is gone should be noticed soon.
 */
const MAX_SILENT_SWEEPS: Readonly<Record<PingPolicy, number>> = { active: 7, all: 2 }

interface Watched {
  /** Bytes that had come when it last answered. */
  seenBytes: number
  /** Sweeps since the ping that is not answered yet; undefined when there is none. */
  silentSweeps: number | undefined
}

/** The connections of a listener and the calls on them. What one of them does wrong ends that one. */
export class Connections implements DownstreamHost {
  readonly #seams: ConnectionsSeams
  readonly #ping: PingPolicy
  readonly #sockets = new Set<Socket>()
  readonly #connections = new Map<Downstream, Watched>()
  #calls = 0
  #idle: (() => void)[] = []
  #closing = false

  constructor(seams: ConnectionsSeams, ping: PingPolicy) {
    this.#seams = seams
    this.#ping = ping
  }

  /** Remembers a socket from its first moment, before TLS, so that it can be closed. */
  watch(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', ignore)
  }

  /** Begins HTTP/2 on a socket. */
  add(socket: Socket, caller: Caller): void {
    const connection = new Downstream(this.#seams.delivery, caller, this)
    this.#connections.set(connection, { seenBytes: 0, silentSweeps: undefined })
    connection.start(socket)
    if (this.#closing) connection.drain()
  }

  callBegan(): void {
    this.#calls += 1
  }

  callOver(): void {
    this.#calls -= 1
    if (this.#calls === 0) for (const idle of this.#idle.splice(0)) idle()
  }

  closed(connection: Downstream): void {
    this.#connections.delete(connection)
  }

  fault({ from }: Downstream, fault: Fault, why: string | undefined): void {
    this.#seams.onFault?.(fault)
    if (why !== undefined && /flood|rapid/.test(fault.reason)) {
      this.#seams.log.warn(`connection ended: ${why}`, { from, reason: fault.reason })
    }
  }

  /** Looks after the connections until `signal` aborts. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#seams
    while (!signal.aborted) {
      await clock.sleep(SWEEP_INTERVAL_MS, signal).catch(() => undefined)
      for (const [connection, watched] of this.#connections) {
        const fault = this.#faultOf(connection, watched)
        if (fault !== undefined) connection.expel(fault)
      }
    }
  }

  /** Ends what a node has open here, in the middle of its calls. */
  cut(nodeId: string): void {
    for (const connection of this.#connections.keys()) if (connection.caller.nodeId === nodeId) connection.destroy()
  }

  /** No new calls; each connection closes after its last one. */
  closeAll(): void {
    this.#closing = true
    for (const connection of this.#connections.keys()) connection.drain()
  }

  destroyAll(): void {
    for (const connection of this.#connections.keys()) connection.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves when there is no call. */
  idle(): Promise<void> {
    if (this.#calls === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #faultOf(connection: Downstream, watched: Watched): FaultReason | undefined {
    const nowMs = this.#seams.clock.nowMs()
    if (!connection.greeted) {
      return nowMs - connection.acceptedAtMs < GREETING_TIMEOUT_MS ? undefined : 'slow_greeting'
    }
    if (!connection.swept(nowMs, GREETING_TIMEOUT_MS)) return 'slow_headers'
    if (watched.silentSweeps !== undefined) {
      watched.silentSweeps += 1
      return watched.silentSweeps < MAX_SILENT_SWEEPS[this.#ping] ? undefined : 'no_answer_to_ping'
    }
    const quiet = connection.bytesRead === watched.seenBytes && this.#ping === 'active'
    if (quiet) return undefined
    watched.silentSweeps = 0
    connection.pings.ask(() => {
      watched.silentSweeps = undefined
      watched.seenBytes = connection.bytesRead
    })
    return undefined
  }
}

function ignore(): void {
  // What is wrong with a socket is seen by the 'close' that follows.
}
