import type { Clock } from '../../base/clock.ts'

/** Watches the event loop of this process. */
export interface LoopWatch {
  /** The longest delay since the last call, in milliseconds. */
  read(): { readonly maxMs: number }
  /** Ends the watch. Idempotent. */
  stop(): void
}

/** For where nobody watches the event loop: what this node notices of itself has to do. */
export const UNWATCHED: LoopWatch = { read: () => ({ maxMs: 0 }), stop: () => undefined }

/** Shorter ones are the everyday of a busy process. */
const MIN_STALL_MS = 50

/** How much faster the wall clock may run than the monotonic one before it means that the machine slept. */
const SLEPT_MS = 1_000

/** The most stalls that are remembered. */
const MAX_STALLS = 32

interface Stall {
  readonly endedAtMs: number
  readonly ms: number
}

/**
 * When this node did nothing for a while: its event loop was blocked, its process stopped, its machine asleep. What did not
 * arrive in such a time says nothing of others: it may lie unread.
 */
export interface Stalls {
  /** Somebody here went on `ms` later than it should have. */
  note(ms: number): void
  /** The longest stall that ended after `sinceMs`, in milliseconds; 0 when there was none. */
  longestSince(sinceMs: number): number
  /** When the last stall of at least `ms` ended, by the monotonic clock; -Infinity when none is known. */
  awakeSinceMs(ms: number): number
}

export function createStalls(clock: Clock, loop: Pick<LoopWatch, 'read'>): Stalls {
  const stalls: Stall[] = []
  // A machine that sleeps stops the monotonic clock, but not the other one.
  let aheadMs = clock.wallMs() - clock.nowMs()

  function note(ms: number): void {
    if (ms < MIN_STALL_MS) return
    stalls.push({ endedAtMs: clock.nowMs(), ms })
    if (stalls.length > MAX_STALLS) stalls.shift()
  }

  function look(): void {
    note(loop.read().maxMs)
    const nowAheadMs = clock.wallMs() - clock.nowMs()
    if (nowAheadMs - aheadMs >= SLEPT_MS) note(nowAheadMs - aheadMs)
    aheadMs = nowAheadMs
  }

  return {
    note,
    longestSince(sinceMs) {
      look()
      return stalls.reduce((longest, { endedAtMs, ms }) => (endedAtMs > sinceMs ? Math.max(longest, ms) : longest), 0)
    },
    awakeSinceMs(least) {
      look()
      return stalls.findLast(({ ms }) => ms >= least)?.endedAtMs ?? -Infinity
    },
  }
}
