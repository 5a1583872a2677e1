/** Turns of the event loop, for work that is done in bulk. Errors of a task are nobody's but its own: it must not throw. */
export interface Turn {
  /** Runs `task` once what has arrived by now has been read. */
  soon(task: () => void): void
  /** Runs `task` after about `ms`. Keeps no process alive. */
  after(ms: number, task: () => void): void
}
