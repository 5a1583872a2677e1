/** What a full queue does with one more item: forget the oldest, or refuse the new one. */
export type OverflowPolicy = 'drop-oldest' | 'reject'

/**
 * A bounded first-in first-out queue between one or more producers and one consumer.
 * Iterate it to take items; iteration ends after `close()` once the queue is empty.
 */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = []
  readonly #capacity: number
  readonly #policy: OverflowPolicy
  #closed = false
  #dropped = 0
  #wake: (() => void) | undefined

  constructor(capacity: number, policy: OverflowPolicy) {
    this.#capacity = capacity
    this.#policy = policy
  }

  get length(): number {
    return this.#items.length
  }

  /** Items lost to the bound since the queue was made. */
  get dropped(): number {
    return this.#dropped
  }

  /** Adds an item; false when it was refused (full under `reject`, or closed). */
  push(item: T): boolean {
    if (this.#closed) return false
    if (this.#items.length >= this.#capacity) {
      this.#dropped += 1
      if (this.#policy === 'reject') return false
      this.#items.shift()
    }
    this.#items.push(item)
    this.#wake?.()
    return true
  }

  /** Takes no more items; what is queued can still be read. Idempotent. */
  close(): void {
    this.#closed = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift() as T
      if (this.#closed) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
