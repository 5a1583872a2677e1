import { setMaxListeners } from 'node:events'
import { type Clock, within } from '../base/clock.ts'
import { withSignal } from '../base/abort.ts'
import { EMPTY_BATCH } from './gossip/codec.ts'
import type { Batch } from './member.ts'
import type { Membership } from './membership.ts'
import { isLive } from './merge.ts'
import type { Registry } from './registry/registry.ts'
import type { Sync } from './sync.ts'
import type { Transport } from './transport.ts'
import type { View } from './view.ts'

export interface FlushSeams {
  readonly clock: Clock
  readonly transport: Transport
  readonly membership: Membership
  readonly registry: Registry
  readonly view: View
  readonly sync: Sync
}

/** Makes certain that the others know what this node registers. */
export interface Flush {
  /** Resolves when all present members hold this node's section as it is now, or after `timeoutMs`, or on abort. */
  flushed(timeoutMs: number, signal: AbortSignal): Promise<void>
}

/** Rest before a member that did not acknowledge is sent the section once more. */
const RETRY_MS = 50

export function createFlush(seams: FlushSeams): Flush {
  const { clock, transport, membership, registry, view, sync } = seams

  /** True when the peer's receipt says that it holds `version` or newer. */
  async function push(peer: string, version: number, batch: Batch, signal: AbortSignal): Promise<boolean> {
    const { owner, incarnation } = registry.own
    if (!transport.connected().includes(peer)) return false
    const held = await sync.push(peer, batch, signal).catch(() => [])
    return held.some(
      (digest) =>
        digest.owner === owner && digest.sectionIncarnation === incarnation && digest.sectionVersion >= version,
    )
  }

  /** What changed will do for most, who hold what was there before it or have heard of it already. */
  async function pushUntilHeld(peer: string, version: number, signal: AbortSignal): Promise<void> {
    const news = registry.news()
    const change = 'delta' in news && membership.get(peer)?.signed.record.takesDeltas === true
    if (change && (await push(peer, version, { ...EMPTY_BATCH, deltas: [news.delta] }, signal))) return
    while (!signal.aborted) {
      const status = membership.get(peer)?.member.status
      if (status === undefined || !isLive(status)) return
      if (await push(peer, version, view.firstChunk([registry.own.owner]), signal)) return
      await clock.sleep(RETRY_MS, signal).catch(() => undefined)
    }
  }

  return {
    async flushed(timeoutMs, signal) {
      const { version } = registry.own
      await withSignal(signal, (inner) => {
        // One listener a member is no leak.
        setMaxListeners(0, inner)
        const peers = membership.live().map(({ member }) => member.nodeId)
        return within(clock, timeoutMs, Promise.all(peers.map((peer) => pushUntilHeld(peer, version, inner))))
      })
    },
  }
}
