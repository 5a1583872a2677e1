/** Tells any number of listeners about something that happened. Listeners run in order, synchronously. */
export interface Topic<T> {
  /** Returns the function that ends the subscription. */
  subscribe(listener: (event: T) => void): () => void
}

/** A `Topic` with its sending end. */
export interface TopicSource<T> extends Topic<T> {
  publish(event: T): void
}

export function createTopic<T>(): TopicSource<T> {
  const listeners = new Set<(event: T) => void>()
  return {
    subscribe(listener) {
      // A wrapper of its own, so that one function subscribed twice is two subscriptions.
      const entry = (event: T): void => listener(event)
      listeners.add(entry)
      return () => void listeners.delete(entry)
    },
    publish(event) {
      for (const listener of [...listeners]) listener(event)
    },
  }
}
