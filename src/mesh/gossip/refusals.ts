import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'

/** The most peers that are counted one by one; beyond it all are forgotten and counting starts anew. */
const MAX_PEERS = 1_000
const REPORT_EVERY_MS = 60_000

/** Counts what peers sent and we did not take, and says so once a minute and peer. */
export interface Refusals {
  /** Counts one refusal; `why` is shown when it is the peer's first in a minute. */
  note(peer: string, why: string): void
  /** All refusals so far. */
  readonly total: () => number
}

/** @param report called with the first refusal of a peer in a minute */
export function createRefusals(
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  report: (peer: string, why: string) => void,
): Refusals {
  const peers = new Map<string, { saidAtMs: number; since: number }>()
  let total = 0
  return {
    note(peer, why) {
      total += 1
      const known = peers.get(peer)
      if (known !== undefined && clock.nowMs() - known.saidAtMs < REPORT_EVERY_MS) {
        known.since += 1
        return
      }
      if (peers.size >= MAX_PEERS) peers.clear()
      log.warn('message of a peer was refused', { nodeId: peer, why, refusedBefore: known?.since ?? 0 })
      peers.set(peer, { saidAtMs: clock.nowMs(), since: 0 })
      report(peer, why)
    },
    total: () => total,
  }
}
