import type { Readable, Writable } from 'node:stream'

/** How a `writeAll` ended. */
export interface Written {
  /** False when the signal aborted before the last message. */
  readonly complete: boolean
  /** Resolves when the producer has ended too. A producer that waits for something of its own may take its time. */
  readonly producerEnded: Promise<void>
}

/**
 * Writes all messages to `stream`, or those until `signal` aborts. @throws what the producer throws.
 * The next message is asked for only when the stream takes one, so a slow reader holds the producer back.
 */
export async function writeAll(
  stream: Writable,
  messages: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Written> {
  const iterator = messages[Symbol.asyncIterator]()
  for (;;) {
    const next = await unlessAborted(iterator.next(), signal)
    if (next === undefined) return { complete: false, producerEnded: end(iterator) }
    if (next.done === true) return { complete: true, producerEnded: Promise.resolve() }
    if (!stream.write(next.value)) await unlessAborted(drained(stream), signal)
  }
}

/** Never rejects: how the producer takes its end is its own affair. */
async function end(iterator: AsyncIterator<unknown>): Promise<void> {
  await iterator.return?.().catch(() => undefined)
}

/** Reads messages from `stream`, one at a time, and leaves it open for writing when that ends. */
export function readAll(stream: Readable): AsyncIterable<Uint8Array> {
  return stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>
}

/** One message as a stream of messages. */
export async function* justOne<T>(message: T): AsyncGenerator<T, void> {
  yield message
}

/** Each item changed as it passes. Not a generator: one that waits for an item could not be told to end. */
export function mapped<T, U>(items: AsyncIterable<T>, change: (item: T) => U): AsyncIterable<U> {
  return { [Symbol.asyncIterator]: () => mappedIterator(items[Symbol.asyncIterator](), change) }
}

function mappedIterator<T, U>(iterator: AsyncIterator<T>, change: (item: T) => U): AsyncIterator<U, undefined> {
  const end = async (): Promise<IteratorReturnResult<undefined>> => {
    await iterator.return?.()
    return { done: true, value: undefined }
  }
  return {
    async next() {
      const item = await iterator.next()
      if (item.done === true) return { done: true, value: undefined }
      try {
        return { done: false, value: change(item.value) }
      } catch (error) {
        await end()
        throw error
      }
    },
    return: end,
  }
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off('drain', settle)
      stream.off('close', settle)
      resolve()
    }
    stream.on('drain', settle)
    stream.on('close', settle)
  })
}

function unlessAborted<T>(task: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => resolve(undefined)
    if (signal.aborted) giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    task.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
