import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { NodeRecord } from '../member.ts'
import type { Notices } from '../notices.ts'
import { MAX_HOLDERS } from '../limits.ts'
import type { KeyRuling, SignedRuling } from '../rulings/ruling.ts'
import type { Rulings } from '../rulings/rulings.ts'
import { provesHolder } from './holder-proof.ts'
import type { HeldKey, KeyRing } from './key-ring.ts'
import { meshKeyFingerprint, newMeshKey } from './mesh-key.ts'

export interface RotationSeams {
  readonly clock: Clock
  readonly log: Log
  readonly rulings: Rulings
  readonly notices: Notices
  /** Undefined where the transport needs no keys. */
  readonly ring: KeyRing | undefined
  readonly self: string
  /** Records of the other members, the present before those that are gone. */
  readonly others: () => readonly NodeRecord[]
  readonly connected: () => readonly string[]
  readonly disconnect: (peer: string) => void
  /** Asks a peer for the key of that fingerprint. */
  readonly ask: (peer: string, fingerprint: string, signal: AbortSignal) => Promise<Uint8Array | undefined>
  /** Spreads a ruling. */
  readonly tell: (signed: SignedRuling) => Promise<void>
  /** The keys of this node changed, and so does what its record shows. */
  readonly changed: () => void
}

/** What a node knows of its mesh keys; never the keys. */
export interface KeyReport {
  /** Newest first. */
  readonly keys: readonly Omit<HeldKey, 'key'>[]
  /** Node ids of the other members that have shown that they have the newest key, and of those that have not. */
  readonly holders: readonly string[]
  readonly others: readonly string[]
}

/** Replaces the mesh key while the mesh goes on. */
export interface Rotation {
  /**
   * Makes a new key, which all members of now may have, the remembered ones included; it is the newest from now on.
   *
   * @throws HsuError USAGE while a key is being replaced already.
   */
  rotate(overlapMs: number, actor: string): Promise<KeyRuling>
  /** The key that `peer` asks for, if it may have it and it is here. */
  readonly keyFor: (peer: string, fingerprint: string) => Uint8Array | undefined
  /** Fetches what rulings tell of and is missing, and gives up what has had its time. Called again and again. */
  upkeep(signal: AbortSignal): Promise<void>
  report(): KeyReport
}

export function createRotation(seams: RotationSeams): Rotation {
  const { clock, log, rulings, notices, ring, self, others, connected } = seams
  let complainedOf = ''

  /** `cause`: the node that brought it about. */
  function tell(type: 'mesh.key-changed' | 'mesh.key-retired', reason: string, cause: string): void {
    notices.tell({ type, nodeId: self, name: '', reason, cause })
  }

  async function fetch(keys: KeyRing, { fingerprint, overlapMs, holders, issuer }: KeyRuling, signal: AbortSignal) {
    if (keys.knows(fingerprint)) return
    if (!holders.includes(self)) {
      if (complainedOf !== fingerprint) complain(fingerprint, issuer)
      complainedOf = fingerprint
      return
    }
    const peers = [...connected()].sort((one, other) => Number(other === issuer) - Number(one === issuer))
    for (const peer of peers) {
      const key = await seams.ask(peer, fingerprint, signal).catch(() => undefined)
      if (signal.aborted || keys.knows(fingerprint)) return
      if (key === undefined || meshKeyFingerprint(key) !== fingerprint) continue
      await keys.adopt(key, overlapMs)
      log.info('new mesh key adopted', { fingerprint, from: peer, overlapMs })
      tell('mesh.key-changed', `fingerprint ${fingerprint}`, issuer)
      seams.changed()
      return
    }
  }

  function complain(fingerprint: string, issuer: string): void {
    const advice = 'fetch it with hsu mesh join, or copy the key file'
    log.error(`the mesh has a new key, which this node was not given; ${advice}`, { fingerprint, issuer })
  }

  async function retire(keys: KeyRing): Promise<void> {
    const gone = await keys.retire()
    if (gone.length === 0) return
    log.info('old mesh key is accepted no more', { fingerprints: gone.join(', ') })
    for (const fingerprint of gone) tell('mesh.key-retired', `fingerprint ${fingerprint}`, '')
    seams.changed()
    // Connections outlive the key that they were opened with: who has not shown the new one must show it now.
    const proven = new Set(holdersOf(keys, others()))
    for (const peer of connected()) if (!proven.has(peer)) seams.disconnect(peer)
  }

  return {
    async rotate(overlapMs, actor) {
      if (ring === undefined) throw new HsuError('UNSUPPORTED', 'this node has no mesh keys')
      refuseWhileReplacing(ring, clock)
      const key = newMeshKey()
      const fingerprint = meshKeyFingerprint(key)
      const holders = [self, ...others().map(({ nodeId }) => nodeId)].slice(0, MAX_HOLDERS)
      await ring.adopt(key, overlapMs)
      const { signed, saved } = rulings.issue({ kind: 'key', fingerprint, overlapMs, holders }, actor)
      await saved
      log.info('new mesh key made', { fingerprint, holders: holders.length, overlapMs })
      tell('mesh.key-changed', `by ${actor}: fingerprint ${fingerprint}`, self)
      seams.changed()
      await seams.tell(signed)
      return signed.ruling as KeyRuling
    },
    keyFor(peer, fingerprint) {
      const ruling = rulings.key
      const may = ruling?.fingerprint === fingerprint && ruling.holders.includes(peer) && !rulings.isRemoved(peer)
      return may ? ring?.find(fingerprint) : undefined
    },
    async upkeep(signal) {
      if (ring === undefined) return
      try {
        if (rulings.key !== undefined) await fetch(ring, rulings.key, signal)
        await retire(ring)
      } catch (error) {
        log.error('mesh keys cannot be kept up', { cause: messageOf(error) })
      }
    },
    report: () => reportOf(ring, others()),
  }
}

/** Those that have shown that they have the newest key. */
function holdersOf(ring: KeyRing, others: readonly NodeRecord[]): string[] {
  return others
    .filter(({ nodeId, keyProofs = [] }) => provesHolder(keyProofs, ring.newest.key, nodeId))
    .map(({ nodeId }) => nodeId)
}

function reportOf(ring: KeyRing | undefined, others: readonly NodeRecord[]): KeyReport {
  const holders = ring === undefined ? [] : holdersOf(ring, others)
  const keys = (ring?.held() ?? []).map(({ fingerprint, sinceMs, untilMs }) => ({ fingerprint, sinceMs, untilMs }))
  return { keys, holders, others: others.map(({ nodeId }) => nodeId).filter((id) => !holders.includes(id)) }
}

/** @throws HsuError USAGE while an older key still has its time. */
function refuseWhileReplacing(ring: KeyRing, clock: Clock): void {
  const untilMs = ring.held().find((key) => key.untilMs !== undefined)?.untilMs
  if (untilMs === undefined) return
  const minutes = Math.ceil((untilMs - clock.wallMs()) / 60_000)
  throw new HsuError('USAGE', `a mesh key is being replaced already; the old one ends in ${minutes} min`)
}
