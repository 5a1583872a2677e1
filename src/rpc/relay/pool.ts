import { HsuError } from '../../base/error.ts'
import type { Upstream } from './upstream.ts'

/** How a pool gets connections, and how many. */
export interface PoolConfig {
  /** Names the other side in messages. */
  readonly label: string
  /** Resolves to a connection that has shown that it speaks HTTP/2. @throws HsuError why there is none */
  readonly dial: (signal: AbortSignal) => Promise<Upstream>
  /** Connections that take new calls. A further one is made only when all are full. */
  readonly maxConnections: number
  /** Called when the pool has neither a connection nor a caller left. */
  readonly onEmpty: () => void
}

/** Who waits for a place. */
export interface Waiter {
  /** There is one, on this connection, for a stream that is opened at once. */
  reached(upstream: Upstream): void
  /** There is none. */
  unreachable(error: HsuError): void
}

/** Calls that wait for a connection or for a place on one; more are refused. */
const MAX_WAITING = 1_000

/** Connections in all, with those that only finish what they have. */
const MAX_DRAINING = 16

/** The connections to one upstream, made on demand. The upstream's limit of concurrent streams is kept. */
export class Pool {
  readonly #config: PoolConfig
  readonly #connections = new Set<Upstream>()
  readonly #waiting = new Map<object, Waiter>()
  readonly #closed = new AbortController()
  #dialing: Promise<void> | undefined
  /** The one that took the last call: most pools have no other. */
  #last: Upstream | undefined

  constructor(config: PoolConfig) {
    this.#config = config
  }

  /** A connection with a place for one call; undefined when there is none now. */
  free(): Upstream | undefined {
    if (this.#waiting.size > 0) return undefined
    if (this.#connections.size === 1 && this.#last !== undefined && this.#last.free > 0) return this.#last
    return this.#leastBusy()
  }

  /** Tells `waiter` when there is a place; `key` is for `forget`. */
  wait(key: object, waiter: Waiter): void {
    const { label } = this.#config
    if (this.#closed.signal.aborted) {
      waiter.unreachable(new HsuError('NODE_UNREACHABLE', `the way to ${label} was closed`))
    } else if (this.#waiting.size >= MAX_WAITING) {
      waiter.unreachable(
        new HsuError('QUEUE_FULL', `${MAX_WAITING} calls wait for ${label} already`, { details: { target: label } }),
      )
    } else {
      this.#waiting.set(key, waiter)
      this.#grow()
    }
  }

  forget(key: object): void {
    this.#waiting.delete(key)
  }

  /** Takes no new calls; connections close when their calls have ended. */
  retire(): void {
    const reason = new HsuError('NODE_UNREACHABLE', `the way to ${this.#config.label} was closed`)
    this.#closed.abort(reason)
    for (const connection of this.#connections) connection.retire()
    this.#failAll(reason)
  }

  /** Ends all connections and waits for a dial under way. */
  async stop(): Promise<void> {
    this.retire()
    for (const connection of this.#connections) connection.destroy()
    await this.#dialing
  }

  #leastBusy(): Upstream | undefined {
    let best: Upstream | undefined
    for (const connection of this.#connections) {
      if (connection.free > 0 && (best === undefined || connection.sides.size < best.sides.size)) best = connection
    }
    this.#last = best
    return best
  }

  /** One dial at a time: its outcome decides whether another is needed. */
  #grow(): void {
    if (this.#dialing !== undefined || this.#waiting.size === 0 || this.#closed.signal.aborted) return
    let usable = 0
    for (const connection of this.#connections) usable += connection.usable ? 1 : 0
    const { maxConnections } = this.#config
    if (usable >= maxConnections || this.#connections.size >= maxConnections + MAX_DRAINING) return
    this.#dialing = this.#dial().finally(() => {
      this.#dialing = undefined
      this.#settle()
    })
  }

  async #dial(): Promise<void> {
    try {
      this.#add(await this.#config.dial(this.#closed.signal))
    } catch (error) {
      // With a connection left, callers wait for a place on it; without one, all would wait for nothing.
      if (![...this.#connections].some(({ usable }) => usable)) this.#failAll(HsuError.from(error))
    }
  }

  #add(upstream: Upstream): void {
    const ended = new HsuError('NO_ENDPOINT', `${this.#config.label} closed the connection at once`)
    if (this.#closed.signal.aborted) upstream.destroy()
    if (!upstream.usable) throw ended
    upstream.onChange = () => this.#settle()
    this.#connections.add(upstream)
    upstream.onceClosed(() => {
      this.#connections.delete(upstream)
      // Else who waits would make it connect for ever.
      if (!upstream.used) this.#failAll(ended)
      this.#settle()
    })
  }

  /** Gives free places to those who wait, and gets another connection when there are none. */
  #settle(): void {
    for (const [key, waiter] of this.#waiting) {
      const upstream = this.#leastBusy()
      if (upstream === undefined) break
      this.#waiting.delete(key)
      waiter.reached(upstream)
    }
    this.#grow()
    if (this.#connections.size === 0 && this.#waiting.size === 0 && this.#dialing === undefined) this.#config.onEmpty()
  }

  #failAll(error: HsuError): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const waiter of waiting) waiter.unreachable(error)
  }
}
