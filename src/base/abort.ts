/** What aborts the rest of a task that has ended; one for all, as making an error is what aborting costs most for. */
const ENDED = new DOMException('the task has ended', 'AbortError')

/**
 * Runs `task` with a signal of its own, which also aborts when `outer` does and
 * when the task ends, so nothing the task started can outlive it.
 *
 * Not `AbortSignal.any`: on a long-lived `outer` that leaks (nodejs/node#54614).
 */
export async function withSignal<T>(outer: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const inner = new AbortController()
  const follow = (): void => inner.abort(outer.reason)
  if (outer.aborted) follow()
  outer.addEventListener('abort', follow)
  try {
    return await task(inner.signal)
  } finally {
    outer.removeEventListener('abort', follow)
    inner.abort(ENDED)
  }
}

/** Runs `task` for each item with a signal of its own that follows `outer`, which gets one listener however many there are. */
export function withSignalEach<Item, T>(
  outer: AbortSignal,
  items: readonly Item[],
  task: (item: Item, signal: AbortSignal) => Promise<T>,
): Promise<T[]> {
  const each = items.map((item) => ({ item, abort: new AbortController() }))
  return withSignal(outer, (inner) => {
    const follow = (): void => each.forEach(({ abort }) => abort.abort(inner.reason))
    if (inner.aborted) follow()
    inner.addEventListener('abort', follow, { once: true })
    return Promise.all(each.map(({ item, abort }) => task(item, abort.signal)))
  })
}

/** Resolves when `signal` aborts, at once if it already has. Never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
