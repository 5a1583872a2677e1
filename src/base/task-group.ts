import { setMaxListeners } from 'node:events'

/** Tasks that live no longer than their owner: all share one signal and are waited for at the end. */
export interface TaskGroup {
  /** Aborts when the group is stopped. */
  readonly signal: AbortSignal
  /** Starts a task; its failure goes to `onError`, unless the group is being stopped. A no-op after `stop`. */
  run(task: (signal: AbortSignal) => Promise<void>): void
  /** Aborts the signal and waits for all tasks. Idempotent. */
  stop(): Promise<void>
}

export function createTaskGroup(onError: (error: unknown) => void): TaskGroup {
  const abort = new AbortController()
  // As many listeners as there are tasks, which is no leak.
  setMaxListeners(0, abort.signal)
  const running = new Set<Promise<void>>()
  return {
    signal: abort.signal,
    run(task) {
      if (abort.signal.aborted) return
      const ended: Promise<void> = task(abort.signal)
        .catch((error: unknown) => {
          if (!abort.signal.aborted) onError(error)
        })
        .finally(() => running.delete(ended))
      running.add(ended)
    },
    async stop() {
      abort.abort()
      while (running.size > 0) await Promise.all(running)
    },
  }
}
