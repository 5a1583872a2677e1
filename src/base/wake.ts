/** Wakes one waiting loop. Calls that come before the loop waits, or several at once, count as one. */
export interface Wake {
  readonly notify: () => void
  /** Resolves after the next `notify`, at once when there was one since the last wait. */
  wait(): Promise<void>
}

export function createWake(): Wake {
  let due = false
  let waiting: Promise<void> | undefined
  let resolve: (() => void) | undefined
  return {
    notify() {
      if (resolve === undefined) due = true
      resolve?.()
      waiting = resolve = undefined
    },
    wait() {
      if (due) {
        due = false
        return Promise.resolve()
      }
      waiting ??= new Promise((done) => {
        resolve = done
      })
      return waiting
    },
  }
}
