import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { every } from '../base/every.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { MeshTiming } from './config.ts'
import type { Sync } from './sync.ts'
import type { Transport } from './transport.ts'

export interface UpkeepSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly transport: Transport
  readonly sync: Sync
  /** A sync has shown that a member lives. */
  readonly heardFrom: (nodeId: string) => void
  /** What else is due each time. */
  readonly chores: (signal: AbortSignal) => Promise<void>
}

/** Keeps the views of all nodes in step, whatever broadcasts have missed. */
export interface Upkeep {
  /** Syncs with a random peer, and does the chores, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Syncs with a peer, unless it is at it. Never rejects: the next sync, with this peer or another, makes good for it. */
  syncWith(peer: string, signal: AbortSignal): Promise<void>
  /** Fetches from a peer what it knows of `owner`, once more if that was asked for meanwhile. Never rejects. */
  pull(peer: string, owner: string, signal: AbortSignal): Promise<void>
}

export function createUpkeep(seams: UpkeepSeams, timing: MeshTiming): Upkeep {
  const { clock, random, log, transport, sync, heardFrom, chores } = seams
  const syncing = new Set<string>()
  /** True = asked for again while it was under way. */
  const pulling = new Map<string, boolean>()

  async function attempt(peer: string, task: Promise<void>): Promise<void> {
    try {
      await task
      heardFrom(peer)
    } catch (error) {
      log.debug('sync failed', { nodeId: peer, cause: messageOf(error) })
    }
  }

  async function syncWith(peer: string, signal: AbortSignal): Promise<void> {
    if (syncing.has(peer)) return
    syncing.add(peer)
    await attempt(peer, sync.withPeer(peer, signal))
    syncing.delete(peer)
  }

  return {
    syncWith,
    run(signal) {
      const task = async (inner: AbortSignal): Promise<void> => {
        await chores(inner)
        const peers = transport.connected()
        const peer = peers[below(Math.max(1, peers.length), random)]
        if (peer !== undefined) await syncWith(peer, inner)
      }
      const onError = (error: unknown): void => log.warn('upkeep of the mesh failed', { cause: messageOf(error) })
      return every(task, signal, { intervalMs: timing.syncIntervalMs, jitter: 0.2, clock, random, onError })
    },
    async pull(peer, owner, signal) {
      const what = `${peer} ${owner}`
      const isUnderWay = pulling.has(what)
      pulling.set(what, isUnderWay)
      if (isUnderWay) return
      do {
        pulling.set(what, false)
        await attempt(peer, sync.pull(peer, owner, signal))
      } while (pulling.get(what) === true && !signal.aborted)
      pulling.delete(what)
    },
  }
}
