import { withSignal } from './abort.ts'

/** Time, as far as HSU needs it. Tests pass a simulated one. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary moment; never goes back, unaffected by wall-clock changes. */
  nowMs(): number
  /** Milliseconds since the Unix epoch; may jump. For showing to people, never for measuring. */
  wallMs(): number
  /** Resolves after `ms`. @throws the signal's reason as soon as `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const TIMED_OUT = Symbol('timed out')

/** Nobody sees it. One for all: an error of its own for each wait would cost more than the wait. */
const IN_TIME = new Error('the task ended in time')

/**
 * Runs `task` at most `timeoutMs`, with a signal that aborts when the time is over, when `outer` does, and when the task ends.
 * Gives the symbol when the time was over, or `outer` aborted first.
 */
export async function withinSignal<T>(
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T | typeof TIMED_OUT> {
  const over = (): typeof TIMED_OUT => TIMED_OUT
  return withSignal(outer, (inner) => Promise.race([task(inner), clock.sleep(timeoutMs, inner).then(over, over)]))
}

/** Waits for `task` at most `timeoutMs`; the symbol, not an exception, says that time won. */
export async function within<T>(clock: Clock, timeoutMs: number, task: Promise<T>): Promise<T | typeof TIMED_OUT> {
  const timer = new AbortController()
  const timedOut = (): typeof TIMED_OUT => TIMED_OUT
  const timeout = clock.sleep(timeoutMs, timer.signal).then(timedOut, timedOut)
  return Promise.race([task, timeout]).finally(() => timer.abort(IN_TIME))
}
