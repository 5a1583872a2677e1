import { type Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import { every } from '../../base/every.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { readJson, type Store, writeJson } from '../../base/store.ts'
import { MAX_ADDRESSES, plainAddress } from './address.ts'

/** A peer we were connected to, and where. */
export interface RememberedPeer {
  readonly nodeId: string
  /** Newest first. */
  readonly addresses: readonly string[]
  readonly lastSeenMs: number
}

/** The peers of last time, so that a node finds its mesh when there is neither mDNS nor a seed that lives. */
export interface RememberedPeers extends Service {
  /** Those not seen for 30 days are left out. */
  load(): Promise<readonly RememberedPeer[]>
  /** Ids of the peers that are remembered now. */
  ids(): readonly string[]
  note(nodeId: string, addresses: readonly string[]): void
  forget(nodeId: string): void
}

const KEY = 'mesh/peers.json'
const MAX_PEERS = 256
const MAX_AGE_MS = 30 * 86_400_000
const SAVE_MS = 2_000

export function createRememberedPeers(seams: {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
}): RememberedPeers {
  const { clock, random, log, store } = seams
  const peers = new Map<string, RememberedPeer>()
  let changed = false

  async function save(): Promise<void> {
    if (!changed) return
    changed = false
    const newest = [...peers.values()].sort((a, b) => b.lastSeenMs - a.lastSeenMs).slice(0, MAX_PEERS)
    for (const { nodeId } of [...peers.values()])
      if (!newest.some((peer) => peer.nodeId === nodeId)) peers.delete(nodeId)
    await writeJson(store, KEY, { peers: newest })
  }

  const onError = (error: unknown): void => log.warn('peers cannot be remembered', { cause: messageOf(error) })
  const saving = background('remembered-peers', (signal) =>
    every(save, signal, { intervalMs: SAVE_MS, jitter: 0.1, clock, random, onError }),
  )

  return {
    name: 'remembered-peers',
    start: () => saving.start(),
    async stop() {
      await saving.stop()
      await save().catch(onError)
    },
    async load() {
      const kept = (await readJson(store, KEY, parsePeers, log)) ?? []
      const oldestMs = clock.wallMs() - MAX_AGE_MS
      for (const peer of kept) if (peer.lastSeenMs >= oldestMs) peers.set(peer.nodeId, peer)
      return [...peers.values()]
    },
    ids: () => [...peers.keys()],
    note(nodeId, addresses) {
      if (addresses.length === 0) return
      peers.set(nodeId, { nodeId, addresses, lastSeenMs: clock.wallMs() })
      changed = true
    },
    forget(nodeId) {
      changed = peers.delete(nodeId) || changed
    },
  }
}

function parsePeers(raw: unknown): RememberedPeer[] {
  const { peers } = (raw ?? {}) as { peers?: unknown }
  if (!Array.isArray(peers)) throw new HsuError('STORE_CORRUPT', `${KEY} has no list of peers`)
  return peers.slice(0, MAX_PEERS).map(parsePeer)
}

function parsePeer(raw: unknown): RememberedPeer {
  const { nodeId, addresses, lastSeenMs } = (raw ?? {}) as Record<keyof RememberedPeer, unknown>
  if (typeof nodeId !== 'string' || !Array.isArray(addresses) || typeof lastSeenMs !== 'number') {
    throw new HsuError('STORE_CORRUPT', `${KEY} has an entry that is no peer`)
  }
  const plain = addresses.map((address) => plainAddress(String(address))).filter((address) => address !== undefined)
  return { nodeId, addresses: plain.slice(0, MAX_ADDRESSES), lastSeenMs }
}
