import type { Clock } from '../../base/clock.ts'

type Purpose = 'deadline' | 'route' | 'linger' | 'hedge'

/** The few timers that calls need: most calls have none. */
export class CallTimers {
  readonly #clock: Clock
  readonly #running = new Map<object, Map<Purpose, AbortController>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs `task` after `ms`, unless the timers of the call end before, or this one is started again. */
  start(call: object, purpose: Purpose, ms: number, task: () => void): void {
    const timers = this.#running.get(call) ?? new Map<Purpose, AbortController>()
    this.#running.set(call, timers)
    if (purpose === 'linger' && timers.has('linger')) return
    timers.get(purpose)?.abort()
    const stop = new AbortController()
    timers.set(purpose, stop)
    this.#clock.sleep(ms, stop.signal).then(
      () => {
        if (!stop.signal.aborted) task()
      },
      () => undefined,
    )
  }

  /** Ends one timer of a call. */
  stop(call: object, purpose: Purpose): void {
    const timers = this.#running.get(call)
    timers?.get(purpose)?.abort()
    timers?.delete(purpose)
    if (timers?.size === 0) this.#running.delete(call)
  }

  /** Ends all timers of a call. */
  end(call: object): void {
    const timers = this.#running.get(call)
    if (timers === undefined) return
    this.#running.delete(call)
    for (const stop of timers.values()) stop.abort()
  }
}
