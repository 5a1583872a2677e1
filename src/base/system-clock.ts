import { performance } from 'node:perf_hooks'
import type { Clock } from './clock.ts'

/** The longest delay Node.js timers take (2^31 - 1 ms); a longer sleep is made of several. */
const MAX_TIMER_MS = 2_147_483_647

/** `keeps`: the process does not end while this timer runs. */
function timer(ms: number, signal: AbortSignal | undefined, keeps: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(handle)
      reject(signal?.reason as Error)
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    if (!keeps) handle.unref()
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** The computer's own clock. */
export const systemClock: Clock = clockOf(true)

/** The same, whose sleeps keep no process alive: for what other programs load. */
export const backgroundClock: Clock = clockOf(false)

function clockOf(keeps: boolean): Clock {
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    async sleep(ms, signal) {
      signal?.throwIfAborted()
      for (let left = Math.max(0, ms); ; left -= MAX_TIMER_MS) {
        await timer(Math.min(left, MAX_TIMER_MS), signal, keeps)
        if (left <= MAX_TIMER_MS) return
      }
    },
  }
}
