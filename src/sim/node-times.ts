import type { Clock } from '../base/clock.ts'
import type { LoopWatch } from '../mesh/index.ts'
import type { Life } from './life.ts'
import type { Cancel, SimClock } from './sim-clock.ts'

/** A node that does nothing for the moment. */
interface Frozen {
  readonly sinceMs: number
  /** Its machine sleeps, so that its monotonic clock stands still. */
  readonly asleep: boolean
  readonly thawed: Promise<void>
  thaw(): void
}

/** Time as each node feels it: nodes freeze, stall and sleep, and their wall clocks go wrong. Nodes by their ids. */
export class NodeTimes {
  readonly #clock: SimClock
  readonly #frozen = new Map<string, Frozen>()
  /** How long each node was asleep in all. */
  readonly #sleptMs = new Map<string, number>()
  readonly #skewMs = new Map<string, number>()
  /** The longest stall of each node since it last asked. */
  readonly #stalledMs = new Map<string, number>()

  constructor(clock: SimClock) {
    this.#clock = clock
  }

  /** The clock of a node. While it is frozen nothing wakes up, while it is asleep no time passes, once it is dead nothing comes any more. */
  clockOf(nodeId: string, life: Life = { over: false }): Clock {
    const clock = this.#clock
    const nowMs = (): number => this.#nowMs(nodeId)
    return {
      nowMs,
      wallMs: () => clock.wallMs() + (this.#skewMs.get(nodeId) ?? 0),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted === true) {
            reject(signal.reason as Error)
            return
          }
          const dueMs = nowMs() + Math.max(0, ms)
          let cancel: Cancel = () => undefined
          const abort = (): void => {
            cancel()
            if (!life.over) reject(signal?.reason as Error)
          }
          const wake = (): void => {
            if (life.over || signal?.aborted === true) return
            const leftMs = dueMs - nowMs()
            const frozen = this.#frozen.get(nodeId)
            if (frozen !== undefined) void frozen.thawed.then(wake)
            else if (leftMs > 0) cancel = clock.after(leftMs, wake)
            else {
              signal?.removeEventListener('abort', abort)
              resolve()
            }
          }
          cancel = clock.after(ms, wake)
          signal?.addEventListener('abort', abort, { once: true })
        }),
    }
  }

  /** What the node sees of its own event loop: being frozen is a delay, being asleep is none. */
  loopOf(nodeId: string): LoopWatch {
    return {
      read: () => {
        const maxMs = this.#stalledMs.get(nodeId) ?? 0
        this.#stalledMs.delete(nodeId)
        return { maxMs }
      },
      stop: () => undefined,
    }
  }

  isFrozen(nodeId: string): boolean {
    return this.#frozen.has(nodeId)
  }

  /** Resolves when the node goes on; at once when it does. */
  async thawed(nodeId: string): Promise<void> {
    await this.#frozen.get(nodeId)?.thawed
  }

  freeze(nodeId: string, asleep: boolean): void {
    if (this.#frozen.has(nodeId)) return
    let thaw = (): void => undefined
    const thawed = new Promise<void>((resolve) => {
      thaw = resolve
    })
    this.#frozen.set(nodeId, { sinceMs: this.#clock.nowMs(), asleep, thawed, thaw })
  }

  /** False when it was not frozen. */
  thaw(nodeId: string): boolean {
    const frozen = this.#frozen.get(nodeId)
    if (frozen === undefined) return false
    this.#frozen.delete(nodeId)
    const ms = this.#clock.nowMs() - frozen.sinceMs
    const totals = frozen.asleep ? this.#sleptMs : this.#stalledMs
    totals.set(nodeId, frozen.asleep ? (totals.get(nodeId) ?? 0) + ms : Math.max(totals.get(nodeId) ?? 0, ms))
    frozen.thaw()
    return true
  }

  skew(nodeId: string, ms: number): void {
    this.#skewMs.set(nodeId, ms)
  }

  #nowMs(nodeId: string): number {
    const frozen = this.#frozen.get(nodeId)
    const untilMs = frozen?.asleep === true ? frozen.sinceMs : this.#clock.nowMs()
    return untilMs - (this.#sleptMs.get(nodeId) ?? 0)
  }
}
