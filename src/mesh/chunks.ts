import { sectionBytes } from './gossip/items.ts'
import { CHUNK_BYTES } from './limits.ts'
import type { Batch, Rumour, Section, SignedRecord } from './member.ts'
import type { Entry, Membership } from './membership.ts'
import type { Registry } from './registry/registry.ts'
import type { Self } from './self.ts'
import type { Gift } from './sync-plan.ts'

/** Where that what is sent is taken from. */
interface Holdings {
  readonly self: Self
  readonly membership: Membership
  readonly registry: Registry
}

/** What to send of each owner, in messages of at most `CHUNK_BYTES` (or one oversized item). */
export function* chunksOf(holdings: Holdings, gifts: Iterable<Gift>): Generator<Batch, void> {
  let batch = emptyBatch()
  let bytes = 0
  for (const gift of gifts) {
    const item = itemOf(holdings, gift)
    if (bytes > 0 && bytes + item.bytes > CHUNK_BYTES) {
      yield batch
      batch = emptyBatch()
      bytes = 0
    }
    bytes += item.bytes
    batch.records.push(...item.records)
    batch.rumours.push(...item.rumours)
    batch.sections.push(...item.sections)
  }
  if (bytes > 0) yield batch
}

function itemOf({ membership, registry, self }: Holdings, gift: Gift) {
  const entry = membership.get(gift.owner)
  const signed = gift.owner === self.nodeId ? self.signed : entry?.signed
  const section = gift.section ? registry.get(gift.owner) : undefined
  const records = gift.record && signed !== undefined ? [signed] : []
  const rumours = gift.rumour && entry !== undefined ? rumoursOf(entry) : []
  const sections = section === undefined ? [] : [section]
  const bytes =
    records.reduce((sum, record) => sum + record.bytes.length + 80, 0) +
    rumours.length * 140 +
    sections.reduce((sum, one) => sum + sectionBytes(one), 0)
  return { records, rumours, sections, bytes }
}

/** What is held against a member, at most three voices of it; nothing against one that is alive. */
export function rumoursOf({ member, suspicion }: Entry): Rumour[] {
  const { nodeId, status, incarnation } = member
  if (status === 'alive') return []
  const voices = [...(suspicion?.voices ?? [])].slice(0, 3)
  if (voices.length === 0) return [{ nodeId, status, incarnation, from: '', linkLost: false }]
  return voices.map(([from, linkLost]) => ({ nodeId, status, incarnation, from, linkLost }))
}

function emptyBatch() {
  return { records: [] as SignedRecord[], rumours: [] as Rumour[], sections: [] as Section[] }
}
