/** Lets tasks wait until a state they watch has become what they need. */
export interface Waiters {
  /** To be called after each change of the state. */
  wake(): void
  /** Resolves when `predicate` holds, at once if it already does. @throws the signal's reason */
  until(predicate: () => boolean, signal: AbortSignal): Promise<void>
}

export function createWaiters(): Waiters {
  const checks = new Set<() => void>()
  return {
    wake() {
      for (const check of [...checks]) check()
    },
    until: (predicate, signal) =>
      new Promise((resolve, reject) => {
        const end = (): void => {
          checks.delete(check)
          signal.removeEventListener('abort', abort)
        }
        const abort = (): void => {
          end()
          reject(signal.reason as Error)
        }
        const check = (): void => {
          if (!predicate()) return
          end()
          resolve()
        }
        if (predicate()) resolve()
        else if (signal.aborted) abort()
        else {
          checks.add(check)
          signal.addEventListener('abort', abort)
        }
      }),
  }
}
