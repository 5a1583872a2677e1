import type { Clock } from '../../base/clock.ts'
import type { MeshTiming } from '../config.ts'
import type { Membership } from '../membership.ts'
import type { Pinger } from './pinger.ts'
import type { Stalls } from './stalls.ts'

/**
 * Ping periods without a word from anybody after which a node takes itself for cut off. Somebody asks it about once a period,
 * and it asks somebody: with a tenth of all messages lost, chance does that once in millions of years.
 */
const DEAF_PERIODS = 3

export interface HearingSeams {
  readonly clock: Clock
  readonly membership: Membership
  readonly pinger: Pinger
  readonly stalls: Stalls
}

/** Whether this node hears anything at all. */
export interface Hearing {
  /** Somebody asked or answered something. */
  heard(): void
  /** For a while nobody did, although this node was awake and asked. */
  isDeaf(): boolean
  /**
   * Asks all members at once, and gives those that did not answer when none did. One after the other, a node that is cut off
   * would take minutes to see that of a large mesh: each failure makes it doubt itself and ask more slowly.
   */
  silentToAll(signal: AbortSignal): Promise<readonly string[]>
}

export function createHearing({ clock, membership, pinger, stalls }: HearingSeams, timing: MeshTiming): Hearing {
  let heardAtMs = clock.nowMs()
  return {
    heard() {
      heardAtMs = clock.nowMs()
    },
    isDeaf() {
      const sinceMs = Math.max(heardAtMs, stalls.awakeSinceMs(timing.pingTimeoutMs))
      return clock.nowMs() - sinceMs >= DEAF_PERIODS * timing.pingPeriodMs
    },
    async silentToAll(signal) {
      const startedAtMs = clock.nowMs()
      const members = membership.live().flatMap(({ member }) => (member.status === 'alive' ? [member.nodeId] : []))
      const results = await Promise.all(members.map((nodeId) => pinger.direct(nodeId, signal)))
      const hears = results.includes('alive') || heardAtMs >= startedAtMs
      if (hears) heardAtMs = clock.nowMs()
      // While this node did nothing, answers may have come and lie unread.
      const stalled = stalls.longestSince(startedAtMs) >= timing.pingTimeoutMs / 2
      return hears || stalled || signal.aborted ? [] : members
    },
  }
}
