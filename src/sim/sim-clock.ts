import type { Clock } from '../base/clock.ts'

interface Sleeper {
  readonly atMs: number
  /** Who fell asleep first wakes first at the same moment. */
  readonly turn: number
  cancelled: boolean
  wake(): void
}

/** A clock that stands still until told to advance; everything that sleeps wakes in order, at its exact moment. */
export class SimClock implements Clock {
  #nowMs = 0
  #turn = 0
  #sleeping = 0
  #epochMs: number
  readonly #sleepers: Sleeper[] = []

  constructor(epochMs = 1_700_000_000_000) {
    this.#epochMs = epochMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#epochMs + this.#nowMs
  }

  /** Somebody sets the wall clock; time that passes does not change by it. */
  setWall(wallMs: number): void {
    this.#epochMs = wallMs - this.#nowMs
  }

  /** The number of sleeps under way: 0 after a clean stop. */
  get sleeping(): number {
    return this.#sleeping
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      const abort = (): void => {
        // Left in the heap; a heap has no cheap way to take out what is not on top.
        sleeper.cancelled = true
        this.#sleeping -= 1
        reject(signal?.reason as Error)
      }
      const wake = (): void => {
        signal?.removeEventListener('abort', abort)
        this.#sleeping -= 1
        resolve()
      }
      const sleeper: Sleeper = { atMs: this.#nowMs + Math.max(0, ms), turn: this.#turn, cancelled: false, wake }
      this.#turn += 1
      this.#sleeping += 1
      signal?.addEventListener('abort', abort, { once: true })
      push(this.#sleepers, sleeper)
    })
  }

  /** Lets `ms` pass at once, as a machine that was suspended sees it: who should have woken meanwhile wakes late, and once. */
  async leap(ms: number): Promise<void> {
    this.#nowMs += ms
    await this.advance(0)
  }

  /** Lets `ms` pass, waking each sleeper at its moment and letting what it starts run before time goes on. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms
    await settle()
    for (;;) {
      const next = this.#sleepers[0]
      if (next === undefined || next.atMs > untilMs) break
      pop(this.#sleepers)
      if (next.cancelled) continue
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.wake()
      await settle()
    }
    this.#nowMs = untilMs
  }
}

/**
 * Lets promise callbacks run until nothing is left to do but wait: a turn of the event loop begins only when all of
 * them, and all that they started in turn, have run.
 */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(one: Sleeper, other: Sleeper): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.turn < other.turn)
}

/** Adds to a binary heap. */
function push(heap: Sleeper[], sleeper: Sleeper): void {
  let index = heap.push(sleeper) - 1
  while (index > 0) {
    const above = (index - 1) >> 1
    if (!isBefore(sleeper, heap[above] as Sleeper)) break
    heap[index] = heap[above] as Sleeper
    index = above
  }
  heap[index] = sleeper
}

/** Takes the first off a binary heap that is not empty. */
function pop(heap: Sleeper[]): void {
  const last = heap.pop() as Sleeper
  if (heap.length === 0) return
  let index = 0
  for (;;) {
    const left = 2 * index + 1
    if (left >= heap.length) break
    const right = left + 1
    const below = right < heap.length && isBefore(heap[right] as Sleeper, heap[left] as Sleeper) ? right : left
    if (!isBefore(heap[below] as Sleeper, last)) break
    heap[index] = heap[below] as Sleeper
    index = below
  }
  heap[index] = last
}
