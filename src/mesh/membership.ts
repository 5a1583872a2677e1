import type { Clock } from '../base/clock.ts'
import type { MeshTiming } from './config.ts'
import { addVoice, newSuspicion, type Suspicion, suspicionMinMs } from './detector/suspicion.ts'
import { MAX_MEMBERS } from './limits.ts'
import type { Rumour, SignedRecord } from './member.ts'
import { isLive, type Member, type MemberStatus, merge } from './merge.ts'
import { compareRecords } from './record.ts'

/** All that is known of one other member. */
export interface Entry {
  readonly member: Member
  readonly signed: SignedRecord
  /** Present while the member is suspect. */
  readonly suspicion: Suspicion | undefined
  /** When the status last changed, by the monotonic clock. */
  readonly sinceMs: number
  /** Until then the member said it would be silent, by the monotonic clock; 0 = it did not. */
  readonly awayUntilMs: number
  /** When it came back after it had been gone, by the monotonic clock; absent when it never was. */
  readonly backAtMs?: number
}

/** Why a status changed: shown to people. */
export interface Reason {
  readonly reason: string
  /** Node id of who said so, or empty. */
  readonly cause: string
}

/** Called in the same step in which the membership changes; must not throw. */
export interface MembershipListener {
  /** The status of a member changed, or it is new (`before` undefined). */
  onStatus(entry: Entry, before: MemberStatus | undefined, why: Reason): void
  /** Somebody raised their voice, or the first did, against a member that is suspect. */
  onSuspicion(entry: Entry): void
  /** A member has a newer record, under the same or a new status. */
  onRecord(entry: Entry, before: Entry | undefined): void
  /** A member that was gone long enough is no longer known. */
  onForgotten(nodeId: string): void
}

/** The most members that are gone and still remembered; beyond it the oldest are forgotten. */
const MAX_TOMBSTONES = 1_000

/** The longest absence that is believed: a member that says it will be silent may also be gone. */
const MAX_AWAY_MS = 15_000

/** How long after it was gone a member is not believed when it speaks ill of others: by then it has met them, or has reason. */
const BACK_MS = 1_000

/** Hearsay of a death is taken at its word once a suspicion is this part of the shortest old. */
const RIPE = 0.5

/**
 * The other members of the mesh and what is believed of each. All changes go through `merge`, whether they come from
 * the node's own detector, a broadcast or a sync.
 *
 * A member exists once its signed record is known, and rumours count up to the incarnation which that record proves:
 * nobody can push the incarnation of another.
 */
export class Membership {
  readonly #clock: Clock
  readonly #timing: MeshTiming
  readonly #self: string
  readonly #listener: MembershipListener
  readonly #paceOf: (nodeId: string) => number
  readonly #entries = new Map<string, Entry>()
  #revision = 0

  constructor(
    seams: {
      readonly clock: Clock
      readonly listener: MembershipListener
      /** How many times slower than expected the network to a member is. */
      readonly paceOf?: (nodeId: string) => number
    },
    config: { readonly timing: MeshTiming; readonly self: string },
  ) {
    this.#clock = seams.clock
    this.#listener = seams.listener
    this.#paceOf = seams.paceOf ?? (() => 1)
    this.#timing = config.timing
    this.#self = config.self
  }

  /** Grows with each change. */
  get revision(): number {
    return this.#revision
  }

  /** What is known of a member, gone or not; undefined for this node itself. */
  get(nodeId: string): Entry | undefined {
    return this.#entries.get(nodeId)
  }

  /** Until when the silence of a member says nothing of it; 0 = it does. */
  awayUntilMs(nodeId: string): number {
    return this.#entries.get(nodeId)?.awayUntilMs ?? 0
  }

  /** Everybody but this node itself, the gone included. */
  entries(): readonly Entry[] {
    return [...this.#entries.values()]
  }

  /** Those who count as present, without this node itself. */
  live(): readonly Entry[] {
    return this.entries().filter(({ member }) => isLive(member.status))
  }

  /** How many count as present, this node included. */
  get size(): number {
    return this.live().length + 1
  }

  /** Whether a record would be taken, so that its signature is worth checking. */
  isNews({ record }: SignedRecord): boolean {
    if (record.nodeId === this.#self) return false
    const known = this.#entries.get(record.nodeId)
    if (known === undefined) return this.#entries.size < MAX_MEMBERS - 1
    return compareRecords(record, known.signed.record) > 0
  }

  /** Takes a record whose signature was checked: a higher incarnation says that the member is alive. */
  takeRecord(signed: SignedRecord, cause: string): void {
    if (!this.isNews(signed)) return
    const { nodeId, incarnation } = signed.record
    const known = this.#entries.get(nodeId)
    const heard: Member = { nodeId, status: 'alive', incarnation }
    const member = known === undefined ? heard : merge(known.member, heard)
    const why = { reason: known === undefined ? 'joined' : 'spoke for itself', cause }
    const entry = this.#set({ member, signed, suspicion: known?.suspicion }, why)
    this.#listener.onRecord(entry, known)
  }

  /**
   * Hears bad news of another member from a peer. A peer that was cut off believes everybody else dead and says so when
   * it comes back: as long as it is itself dead here, and a moment longer, nothing is given for that. Other hearsay of a
   * death counts as suspicion until something here speaks for it; memberlist's mergeState does the same.
   */
  hear(rumour: Rumour, peer: string): void {
    const known = this.#entries.get(rumour.nodeId)
    if (known === undefined || rumour.incarnation > known.signed.record.incarnation) return
    if (rumour.status !== 'left' && this.#isOut(rumour.from === '' ? peer : rumour.from)) return
    const byDeed = rumour.status === 'dead' && !this.#isRipe(known, rumour.incarnation)
    this.#accuse(known, byDeed ? { ...rumour, status: 'suspect' } : rumour, peer)
  }

  /** This node itself could not reach the member. */
  suspect(nodeId: string, linkLost: boolean): void {
    const known = this.#entries.get(nodeId)
    if (known === undefined || !isLive(known.member.status)) return
    const { incarnation } = known.member
    this.#accuse(known, { nodeId, status: 'suspect', incarnation, from: this.#self, linkLost }, this.#self)
  }

  /** The suspicion of the member has run out. A no-op when it is not suspect any more. */
  declareDead(nodeId: string): void {
    const known = this.#entries.get(nodeId)
    if (known?.suspicion === undefined) return
    const reason = [...known.suspicion.voices.values()].some(Boolean) ? 'connection lost' : 'no answer'
    this.#set({ ...known, member: { ...known.member, status: 'dead' } }, { reason, cause: this.#self })
  }

  /** Forgets those who are gone for long enough, and the oldest of them when there are too many. */
  expire(): void {
    const gone = this.entries()
      .filter(({ member }) => !isLive(member.status))
      .sort((one, other) => other.sinceMs - one.sinceMs)
    for (const [index, { member, sinceMs }] of gone.entries()) {
      const { leftTombstoneMs, deadTombstoneMs } = this.#timing
      const keptMs = member.status === 'left' ? leftTombstoneMs : deadTombstoneMs
      if (index < MAX_TOMBSTONES && this.#clock.nowMs() - sinceMs < keptMs) continue
      this.#entries.delete(member.nodeId)
      this.#revision += 1
      this.#listener.onForgotten(member.nodeId)
    }
  }

  /** Forgets a member at once, whatever is believed of it. */
  drop(nodeId: string): void {
    if (!this.#entries.delete(nodeId)) return
    this.#revision += 1
    this.#listener.onForgotten(nodeId)
  }

  /** Whether it is gone, or was a moment ago: it does not know yet what the rest of the mesh knows. */
  #isOut(nodeId: string): boolean {
    const entry = this.#entries.get(nodeId)
    if (entry === undefined) return false
    const { member, backAtMs = Number.NEGATIVE_INFINITY } = entry
    return !isLive(member.status) || this.#clock.nowMs() - backAtMs < BACK_MS
  }

  #isRipe({ member, suspicion }: Entry, incarnation: number): boolean {
    if (suspicion === undefined || member.incarnation !== incarnation) return false
    if (suspicion.voices.has(this.#self)) return true
    const minMs = suspicionMinMs(this.size, this.#timing, this.#paceOf(member.nodeId))
    return this.#clock.nowMs() - suspicion.startedAtMs >= RIPE * minMs
  }

  #accuse(known: Entry, rumour: Rumour, peer: string): void {
    const { nodeId, status, incarnation, from, linkLost } = rumour
    const member = merge(known.member, { nodeId, status, incarnation })
    const counts = member.status === 'suspect' && member.incarnation === incarnation && from !== ''
    if (member === known.member && !counts) return
    const open = known.suspicion ?? newSuspicion(this.#clock.nowMs())
    const suspicion = counts ? addVoice(open, from, linkLost, from === this.#self) : open
    if (member === known.member && suspicion === known.suspicion) return
    const reason = status === 'left' ? 'left' : linkLost ? 'connection lost' : 'no answer'
    const entry = this.#set({ member, signed: known.signed, suspicion }, { reason, cause: from === '' ? peer : from })
    if (entry.suspicion !== undefined) this.#listener.onSuspicion(entry)
  }

  #set(next: Pick<Entry, 'member' | 'signed' | 'suspicion'>, why: Reason): Entry {
    const { member, signed, suspicion } = next
    const before = this.#entries.get(member.nodeId)
    const changed = before?.member.status !== member.status
    const sinceMs = changed ? this.#clock.nowMs() : before.sinceMs
    const awayMs = Math.min(signed.record.awayMs ?? 0, MAX_AWAY_MS)
    const awayUntilMs = before?.signed === signed ? before.awayUntilMs : awayMs > 0 ? this.#clock.nowMs() + awayMs : 0
    const open = member.status === 'suspect' ? suspicion : undefined
    const isBack = before !== undefined && !isLive(before.member.status) && isLive(member.status)
    const backAtMs = isBack ? this.#clock.nowMs() : before?.backAtMs
    const back = backAtMs === undefined ? {} : { backAtMs }
    const entry: Entry = { member, signed, suspicion: open, sinceMs, awayUntilMs, ...back }
    this.#entries.set(member.nodeId, entry)
    this.#revision += 1
    if (changed) this.#listener.onStatus(entry, before?.member.status, why)
    return entry
  }
}
