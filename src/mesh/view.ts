import { createHash } from 'node:crypto'
import { messageOf } from '../base/error.ts'
import { chunksOf, rumoursOf } from './chunks.ts'
import { EMPTY_BATCH } from './gossip/codec.ts'
import type { Batch, Digest, Rumour, Section, SectionDelta, SignedRecord, Unverified } from './member.ts'
import type { Membership } from './membership.ts'
import { isLive, type MemberStatus } from './merge.ts'
import { compareRecords, isGenuine, parseRecord } from './record.ts'
import type { Registry } from './registry/registry.ts'
import { isGenuineSection, sectionAfter } from './registry/signed-section.ts'
import type { SignedRuling } from './rulings/ruling.ts'
import type { Rulings } from './rulings/rulings.ts'
import type { Self } from './self.ts'
import type { Gift } from './sync-plan.ts'

/** Called by `View.receive`; must not throw. */
export interface ViewListener {
  /** Somebody says something bad about this node, of its current incarnation or a later one. */
  onAccused(rumour: Rumour): void
  /** A record of this node's identity turned up that this node did not write. */
  onTwin(record: SignedRecord, peer: string): void
  onSections(): void
  /** Somebody tells what changed in a section of which this node does not hold the base. */
  onBehind(owner: string, peer: string): void
  /** Somebody holds a section of this node, perhaps not what this node wrote. */
  onOwnSection(section: Section, peer: string): void
  /** Somebody passed on a ruling that counts more than what was known. */
  onRuling(ruling: SignedRuling, peer: string): void
  onRefused(peer: string, why: string): void
}

export interface ViewParts {
  readonly self: Self
  readonly membership: Membership
  readonly registry: Registry
  readonly rulings: Rulings
  readonly listener: ViewListener
}

interface Summary {
  /** What it was made from. */
  readonly state: string
  readonly own: SignedRecord
  readonly digests: ReadonlyMap<string, Digest>
  readonly hash: Uint8Array
}

/** All that one node knows, members and registrations together: what it takes in, compares and hands on. */
export class View {
  readonly #parts: ViewParts
  /** What this node says of itself; `left` while it leaves. */
  selfStatus: MemberStatus = 'alive'
  #kept: Summary | undefined

  constructor(parts: ViewParts) {
    this.#parts = parts
  }

  /**
   * Takes in a message: rulings, which say whose words count, then records, then rumours, then sections. What is forged or malformed is refused item by item.
   * Of a broadcast only the author's own section, or what changed in it, is taken.
   */
  receive(batch: Batch, peer: string, way: 'broadcast' | 'request'): void {
    for (const ruling of batch.rulings ?? []) this.#takeRuling(ruling, peer)
    for (const record of batch.records) this.#takeRecord(record, peer)
    for (const rumour of batch.rumours) this.#hear(rumour, peer)
    let taken = 0
    for (const section of batch.sections) {
      if (way === 'broadcast' && section.owner !== peer) continue
      if (section.owner === this.#parts.self.nodeId) this.#hearOwnSection(section, peer)
      else if (this.#takeSection(section, peer)) taken += 1
    }
    for (const delta of batch.deltas ?? []) {
      if (way === 'broadcast' && delta.owner !== peer) continue
      if (this.#takeDelta(delta, peer)) taken += 1
    }
    if (taken > 0) this.#parts.listener.onSections()
  }

  /** Digests of everybody, this node included, by owner. */
  digests(): ReadonlyMap<string, Digest> {
    return this.#summary().digests
  }

  /** The digests of `owners` that are known here. */
  digestsOf(owners: Iterable<string>): Digest[] {
    const all = this.digests()
    return [...new Set(owners)].map((owner) => all.get(owner)).filter((digest) => digest !== undefined)
  }

  /** A hash of all that counts as present; equal on two nodes exactly when a sync would bring neither anything. */
  hash(): Uint8Array {
    return this.#summary().hash
  }

  /** What to send of each owner, in messages of at most `CHUNK_BYTES` (or one oversized item). */
  chunks(gifts: Iterable<Gift>): Generator<Batch, void> {
    return chunksOf(this.#parts, gifts)
  }

  /** As much of what is known of `owners` as fits one message. */
  firstChunk(owners: Iterable<string>): Batch {
    const gifts = [...new Set(owners)].map((owner) => ({ owner, record: true, section: true, rumour: true }))
    return this.chunks(gifts).next().value ?? EMPTY_BATCH
  }

  /** Whether all present members take what changed in a section in place of the whole. */
  allTakeDeltas(): boolean {
    return this.#parts.membership.live().every(({ signed }) => signed.record.takesDeltas === true)
  }

  /** What is believed of a node, when that is bad news. */
  badNewsOf(nodeId: string): Rumour | undefined {
    const entry = this.#parts.membership.get(nodeId)
    return entry && rumoursOf(entry)[0]
  }

  /** Digests and hash, made anew only after a change: they are asked for with each sync. */
  #summary(): Summary {
    const { membership, registry, rulings, self } = this.#parts
    const state = `${membership.revision} ${registry.revision} ${rulings.revision} ${this.selfStatus}`
    const known = this.#kept
    if (known?.state === state && known.own === self.signed) return known
    const own = this.#digestOf(self.signed, this.selfStatus, self.incarnation)
    const others = membership
      .entries()
      .map(({ signed, member }) => this.#digestOf(signed, member.status, member.incarnation))
    const digests = [own, ...others]
    const summary = {
      state,
      own: self.signed,
      digests: new Map(digests.map((digest) => [digest.owner, digest])),
      hash: hashOf(
        digests.filter(({ status }) => isLive(status)),
        rulings.hash(),
      ),
    }
    this.#kept = summary
    return summary
  }

  #digestOf({ record, signature }: SignedRecord, status: MemberStatus, incarnation: number): Digest {
    const section = this.#parts.registry.get(record.nodeId)
    return {
      owner: record.nodeId,
      status,
      incarnation,
      recordIncarnation: record.incarnation,
      recordVersion: record.recordVersion,
      sectionIncarnation: section?.incarnation ?? 0,
      sectionVersion: section?.version ?? 0,
      recordCheck: Buffer.from(signature).readUInt32LE(0),
    }
  }

  #takeRuling(unverified: Unverified, peer: string): void {
    const { rulings, listener } = this.#parts
    try {
      const taken = rulings.take(unverified)
      if (taken !== undefined) listener.onRuling(taken, peer)
    } catch (error) {
      listener.onRefused(peer, messageOf(error))
    }
  }

  #takeRecord(unverified: Unverified, peer: string): void {
    const { self, membership, rulings, listener } = this.#parts
    let signed: SignedRecord
    try {
      signed = parseRecord(unverified)
    } catch (error) {
      listener.onRefused(peer, messageOf(error))
      return
    }
    const own = signed.record.nodeId === self.nodeId
    // Whoever passed it on may not have heard of the removal yet.
    if (!own && rulings.isRemoved(signed.record.nodeId)) return
    if (own ? !this.#isForeign(signed) : !membership.isNews(signed)) return
    if (!isGenuine(signed)) listener.onRefused(peer, 'node record is not signed by its node')
    else if (own) listener.onTwin(signed, peer)
    else membership.takeRecord(signed, peer)
  }

  /** A record of this node that is not the one it wrote, and not older either. */
  #isForeign(signed: SignedRecord): boolean {
    const { self } = this.#parts
    return (
      compareRecords(signed.record, self.signed.record) >= 0 && !Buffer.from(signed.bytes).equals(self.signed.bytes)
    )
  }

  #hear(rumour: Rumour, peer: string): void {
    const { self, membership, listener } = this.#parts
    if (rumour.nodeId !== self.nodeId) membership.hear(rumour, peer)
    else if (rumour.incarnation === self.incarnation) listener.onAccused(rumour)
  }

  /** A section counts only for a member that is present, and only in the run of it that we know. */
  #takeSection(section: Section, peer: string): boolean {
    const { membership, registry, listener } = this.#parts
    const entry = membership.get(section.owner)
    if (entry === undefined || !isLive(entry.member.status)) return false
    const { startedIncarnation, signsSections = false } = entry.signed.record
    if (section.incarnation !== startedIncarnation || !registry.isNews(section)) return false
    // Of an owner that signs nothing (an earlier version) the word of whoever passes it on must do.
    if (signsSections && !isGenuineSection(section)) {
      listener.onRefused(peer, 'section is not signed by its owner')
      return false
    }
    return registry.take(section)
  }

  /** A change that leads to nothing genuine is taken for one of another base: the whole is asked for. */
  #takeDelta(delta: SectionDelta, peer: string): boolean {
    const { membership, registry, listener } = this.#parts
    const entry = membership.get(delta.owner)
    if (entry === undefined || !isLive(entry.member.status)) return false
    if (delta.incarnation !== entry.signed.record.startedIncarnation) return false
    const base = registry.get(delta.owner)
    if (base !== undefined && base.incarnation === delta.incarnation && base.version >= delta.version) return false
    const after = base && sectionAfter(base, delta)
    if (after !== undefined && isGenuineSection(after)) return registry.take(after)
    listener.onBehind(delta.owner, peer)
    return false
  }

  /** Only what this node signed can be taken for its own by others: an earlier run of it, or its twin. */
  #hearOwnSection(section: Section, peer: string): void {
    const { registry, listener } = this.#parts
    if (isGenuineSection(section)) listener.onOwnSection(section, peer)
    else if (section.version > registry.own.version) listener.onRefused(peer, 'section is not signed by its owner')
  }
}

function hashOf(digests: readonly Digest[], rulings: Uint8Array): Uint8Array {
  const lines = digests.map((digest) => Object.values(digest).join(' ')).sort()
  // Without any the hash is that of earlier versions.
  if (rulings.length > 0) lines.push(Buffer.from(rulings).toString('hex'))
  return createHash('sha256').update(lines.join('\n')).digest().subarray(0, 16)
}
