import { HsuError } from '../base/error.ts'
import { type Dialled, type Slot, UpstreamSession } from './upstream-session.ts'

/** How a pool gets connections, and how many. */
export interface PoolConfig {
  /** Names the other side in messages. */
  readonly label: string
  /** @throws HsuError why there is no connection */
  readonly dial: (signal: AbortSignal) => Promise<Dialled>
  /** Connections that take new calls. A further one is made only when all are full. */
  readonly maxSessions: number
  /** Called when the pool has neither a connection nor a caller left. */
  readonly onEmpty: () => void
}

/** Calls that wait for a connection or for a place on one; more are refused. */
const MAX_WAITING = 1_000

/** Connections in all, with those that only finish what they have. */
const MAX_DRAINING = 16

interface Waiter {
  resolve(slot: Slot): void
  reject(error: Error): void
}

/** The connections to one upstream, made on demand. The upstream's limit of concurrent streams is kept. */
export class UpstreamPool {
  readonly #config: PoolConfig
  readonly #sessions = new Set<UpstreamSession>()
  readonly #waiting = new Set<Waiter>()
  readonly #closed = new AbortController()
  #dialing: Promise<void> | undefined

  constructor(config: PoolConfig) {
    this.#config = config
  }

  /**
   * A place for one call, at once when there is one.
   * @throws HsuError what `dial` throws; `QUEUE_FULL`; the signal's reason
   */
  acquire(signal: AbortSignal): Slot | Promise<Slot> {
    const session = this.#leastBusy()
    if (session !== undefined) return session.reserve()
    const { label } = this.#config
    if (this.#closed.signal.aborted) throw new HsuError('NODE_UNREACHABLE', `the way to ${label} was closed`)
    if (this.#waiting.size >= MAX_WAITING) {
      throw new HsuError('QUEUE_FULL', `${MAX_WAITING} calls wait for ${label} already`, { details: { target: label } })
    }
    const slot = this.#wait(signal)
    this.#grow()
    return slot
  }

  /** Takes no new calls; connections close when their calls have ended. */
  retire(): void {
    const reason = new HsuError('NODE_UNREACHABLE', `the way to ${this.#config.label} was closed`)
    this.#closed.abort(reason)
    for (const session of this.#sessions) session.retire()
    this.#failAll(reason)
  }

  /** Ends all connections and waits for a dial under way. */
  async stop(): Promise<void> {
    this.retire()
    for (const session of this.#sessions) session.destroy()
    await this.#dialing
  }

  #leastBusy(): UpstreamSession | undefined {
    let best: UpstreamSession | undefined
    for (const session of this.#sessions) {
      if (session.free > 0 && (best === undefined || session.open < best.open)) best = session
    }
    return best
  }

  #wait(signal: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiter)
        signal.removeEventListener('abort', giveUp)
      }
      const giveUp = (): void => waiter.reject(signal.reason as Error)
      const waiter: Waiter = {
        resolve(slot) {
          leave()
          resolve(slot)
        },
        reject(error) {
          leave()
          reject(error)
        },
      }
      this.#waiting.add(waiter)
      if (signal.aborted) giveUp()
      else signal.addEventListener('abort', giveUp)
    })
  }

  /** One dial at a time: its outcome decides whether another is needed. */
  #grow(): void {
    if (this.#dialing !== undefined || this.#waiting.size === 0 || this.#closed.signal.aborted) return
    let usable = 0
    for (const session of this.#sessions) usable += session.usable ? 1 : 0
    if (usable >= this.#config.maxSessions || this.#sessions.size >= this.#config.maxSessions + MAX_DRAINING) return
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
      if (![...this.#sessions].some(({ usable }) => usable)) this.#failAll(HsuError.from(error))
    }
  }

  #add(dialled: Dialled): void {
    const session: UpstreamSession = new UpstreamSession(dialled, () => this.#settle())
    const ended = new HsuError('NO_ENDPOINT', `${this.#config.label} closed the connection at once`)
    if (this.#closed.signal.aborted) session.destroy()
    if (!session.usable) throw ended
    this.#sessions.add(session)
    dialled.session.once('close', () => {
      this.#sessions.delete(session)
      // Else who waits would make it connect for ever.
      if (!session.used) this.#failAll(ended)
      this.#settle()
    })
  }

  /** Gives free places to those who wait, and gets another connection when there are none. */
  #settle(): void {
    for (const waiter of this.#waiting) {
      const session = this.#leastBusy()
      if (session === undefined) break
      waiter.resolve(session.reserve())
    }
    this.#grow()
    if (this.#sessions.size === 0 && this.#waiting.size === 0 && this.#dialing === undefined) this.#config.onEmpty()
  }

  #failAll(error: Error): void {
    for (const waiter of this.#waiting) waiter.reject(error)
  }
}
