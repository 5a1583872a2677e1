import { withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { BoundedQueue } from '../base/queue.ts'

/** Sources that may be read at once. */
const MAX_SOURCES = 10_000

export type OpenStream<T> = (signal: AbortSignal) => AsyncIterable<T>
type OnError = (error: unknown, index: number) => void

/**
 * Reads several streams at once and gives their items as they come; each source waits until its item was taken.
 * A source that fails is reported through `onError` with its number, those of `more` counted on, and left out; the others
 * go on. When the reader leaves early, or `outer` aborts, every source's signal aborts and the iteration ends after they have.
 */
export async function* mergeStreams<T>(
  sources: readonly OpenStream<T>[],
  outer: AbortSignal,
  onError: OnError,
  more?: (signal: AbortSignal) => AsyncIterable<OpenStream<T>>,
): AsyncGenerator<T> {
  const queue = new BoundedQueue<{ readonly item: T; readonly taken: () => void }>(MAX_SOURCES, 'reject')
  const leave = new AbortController()
  const follow = (): void => leave.abort(outer.reason)
  if (outer.aborted) follow()
  outer.addEventListener('abort', follow)

  const read = async (open: OpenStream<T>, index: number): Promise<void> => {
    await withSignal(leave.signal, async (signal) => {
      let release = (): void => undefined
      signal.addEventListener('abort', () => release(), { once: true })
      for await (const item of open(signal)) {
        if (signal.aborted) return
        await new Promise<void>((taken) => {
          release = taken
          if (!queue.push({ item, taken })) taken()
        })
      }
    }).catch((error: unknown) => {
      if (!leave.signal.aborted) onError(error, index)
    })
  }
  const reading = sources.map(read)
  const readMore = async (): Promise<void> => {
    for await (const open of more?.(leave.signal) ?? []) reading.push(read(open, reading.length))
  }
  const ended = readMore()
    .then(() => Promise.all(reading))
    .then(() => queue.close())
  try {
    for await (const { item, taken } of queue) {
      yield item
      taken()
    }
  } finally {
    outer.removeEventListener('abort', follow)
    leave.abort()
    await ended
  }
}

/**
 * Merges streams that each are in order of `keyOf` and end, into one in order. Holds one item a source.
 * A source that fails is reported through `onError` and ends there.
 */
export async function* mergeOrdered<T>(
  sources: readonly OpenStream<T>[],
  outer: AbortSignal,
  keyOf: (item: T) => number,
  onError: OnError,
): AsyncGenerator<T> {
  const leave = new AbortController()
  const follow = (): void => leave.abort(outer.reason)
  if (outer.aborted) follow()
  outer.addEventListener('abort', follow)
  const iterators = sources.map((open) => open(leave.signal)[Symbol.asyncIterator]())
  const next = async (index: number): Promise<T | undefined> => {
    try {
      const result = await iterators[index]?.next()
      return result === undefined || result.done === true ? undefined : result.value
    } catch (error) {
      if (!leave.signal.aborted) onError(error, index)
      return undefined
    }
  }
  try {
    const heads = await Promise.all(iterators.map((_, index) => next(index)))
    for (let first = earliest(heads, keyOf); first >= 0; first = earliest(heads, keyOf)) {
      yield heads[first] as T
      heads[first] = await next(first)
    }
  } finally {
    outer.removeEventListener('abort', follow)
    leave.abort()
    await Promise.allSettled(iterators.map(async (iterator) => iterator.return?.()))
  }
}

/** The index of the smallest head, the first of equals; -1 when all sources have ended. */
function earliest<T>(heads: readonly (T | undefined)[], keyOf: (item: T) => number): number {
  let found = -1
  let least = Infinity
  heads.forEach((head, index) => {
    if (head === undefined || (found >= 0 && keyOf(head) >= least)) return
    found = index
    least = keyOf(head)
  })
  return found
}

/** The last `count` items of a stream that ends; all of them when `count` is undefined. */
export async function* lastOf<T>(items: AsyncIterable<T>, count: number | undefined): AsyncGenerator<T> {
  if (count === undefined) {
    yield* items
    return
  }
  const kept = new BoundedQueue<T>(Math.max(1, count), 'drop-oldest')
  for await (const item of items) kept.push(item)
  kept.close()
  if (count > 0) yield* kept
}

/**
 * Orders the beginning of a stream that does not end: what comes within `windowMs` (the past, from several hosts) is
 * held, ordered by `keyOf`, cut to the last `count`, and given; what comes later is given as it comes.
 */
export async function* orderedStart<T>(
  items: AsyncIterable<T>,
  { clock, windowMs, count }: { readonly clock: Clock; readonly windowMs: number; readonly count: number | undefined },
  keyOf: (item: T) => number,
): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]()
  const timer = new AbortController()
  const windowOver = clock.sleep(windowMs, timer.signal).then(
    () => undefined,
    () => undefined,
  )
  try {
    const past: T[] = []
    let pending = iterator.next()
    for (;;) {
      const result = await Promise.race([pending, windowOver])
      if (result === undefined || result.done === true) break
      past.push(result.value)
      pending = iterator.next()
    }
    past.sort((one, other) => keyOf(one) - keyOf(other))
    yield* count === undefined ? past : past.slice(Math.max(0, past.length - count))
    for (let result = await pending; result.done !== true; result = await iterator.next()) yield result.value
  } finally {
    timer.abort()
    await iterator.return?.()
  }
}
