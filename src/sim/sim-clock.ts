import type { Clock } from '../base/clock.ts'

/** Something that is due at a moment. */
interface Due {
  readonly atMs: number
  /** Who came first is first at the same moment. */
  readonly turn: number
  /** Undefined once it was taken back; a heap has no cheap way to take out what is not on top. */
  act: (() => void) | undefined
}

/** Takes back what was to happen. Idempotent. */
export type Cancel = () => void

/**
 * A clock that stands still until told to advance. Whatever is due at one moment happens then, in the order in which it was
 * asked for, and what follows from it runs before time goes on. Its grain is a millisecond, as that of real timers.
 */
export class SimClock implements Clock {
  #nowMs = 0
  #turn = 0
  #sleeping = 0
  #epochMs: number
  readonly #heap: Due[] = []

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

  /** Calls `act` in `ms`. Cheaper than a sleep: for what the simulated world does, not a node. */
  after(ms: number, act: () => void): Cancel {
    const due: Due = { atMs: this.#nowMs + Math.ceil(Math.max(0, ms)), turn: this.#turn, act }
    this.#turn += 1
    push(this.#heap, due)
    return () => {
      due.act = undefined
    }
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      const abort = (): void => {
        cancel()
        this.#sleeping -= 1
        reject(signal?.reason as Error)
      }
      const cancel = this.after(ms, () => {
        signal?.removeEventListener('abort', abort)
        this.#sleeping -= 1
        resolve()
      })
      this.#sleeping += 1
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** Lets `ms` pass at once, as a machine that was suspended sees it: who should have woken meanwhile wakes late, and once. */
  async leap(ms: number): Promise<void> {
    this.#nowMs += ms
    await this.advance(0)
  }

  /** Lets `ms` pass. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms
    await settle()
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      if (this.#runDue(next.atMs)) await settle()
    }
    this.#nowMs = untilMs
  }

  /** Does what is due at `atMs` so far; what is asked for meanwhile has its turn later. True when there was anything. */
  #runDue(atMs: number): boolean {
    const turn = this.#turn
    let any = false
    for (let due = this.#heap[0]; due !== undefined && due.atMs <= atMs && due.turn < turn; due = this.#heap[0]) {
      pop(this.#heap)
      if (due.act === undefined) continue
      due.act()
      any = true
    }
    return any
  }
}

/**
 * Lets promise callbacks run until nothing is left to do but wait: a turn of the event loop begins only when all of
 * them, and all that they started in turn, have run.
 */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(one: Due, other: Due): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.turn < other.turn)
}

/** Adds to a binary heap. */
function push(heap: Due[], due: Due): void {
  let index = heap.push(due) - 1
  while (index > 0) {
    const above = (index - 1) >> 1
    if (!isBefore(due, heap[above] as Due)) break
    heap[index] = heap[above] as Due
    index = above
  }
  heap[index] = due
}

/** Takes the first off a binary heap that is not empty. */
function pop(heap: Due[]): void {
  const last = heap.pop() as Due
  if (heap.length === 0) return
  let index = 0
  for (;;) {
    const left = 2 * index + 1
    if (left >= heap.length) break
    const right = left + 1
    const below = right < heap.length && isBefore(heap[right] as Due, heap[left] as Due) ? right : left
    if (!isBefore(heap[below] as Due, last)) break
    heap[index] = heap[below] as Due
    index = below
  }
  heap[index] = last
}
