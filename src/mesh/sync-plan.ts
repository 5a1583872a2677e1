import { merge } from './merge.ts'
import type { Digest, Rumour } from './member.ts'

/** What two nodes have to tell each other, seen from one of them. */
export interface SyncPlan {
  /** Owners of whom the other has a newer record or section, or whom we do not know. */
  readonly wanted: readonly string[]
  /** What we have newer. */
  readonly give: readonly Gift[]
  /** Bad news that the other holds and we do not. */
  readonly rumours: readonly Rumour[]
}

/** What to send of one owner. */
export interface Gift {
  readonly owner: string
  readonly record: boolean
  readonly section: boolean
  readonly rumour: boolean
}

/**
 * Compares two complete lists of digests. Pure. A member that is gone is news only to a node that knows it: if
 * forgotten members were learnt anew from those who forget them a moment later, none would ever be forgotten.
 */
export function planSync(mine: ReadonlyMap<string, Digest>, theirs: readonly Digest[]): SyncPlan {
  const wanted: string[] = []
  const give: Gift[] = []
  const rumours: Rumour[] = []
  const seen = new Set<string>()
  for (const their of theirs) {
    seen.add(their.owner)
    const my = mine.get(their.owner)
    if (my === undefined) {
      if (!isGone(their)) wanted.push(their.owner)
      continue
    }
    if (isWanted(my, their)) wanted.push(their.owner)
    const rumour = badNews(my, their)
    if (rumour !== undefined) rumours.push(rumour)
    const gift = giftOf(my, their)
    if (gift.record || gift.section || gift.rumour) give.push(gift)
  }
  for (const [owner, my] of mine) {
    if (seen.has(owner) || isGone(my)) continue
    give.push({ owner, record: true, section: my.sectionVersion > 0, rumour: my.status !== 'alive' })
  }
  return { wanted, give, rumours }
}

function isWanted(my: Digest, their: Digest): boolean {
  if (isTwin(my, their)) return true
  return recordOrder(their, my) > 0 || (!isGone(my) && !isGone(their) && sectionOrder(their, my) > 0)
}

function giftOf(my: Digest, their: Digest): Gift {
  return {
    owner: my.owner,
    record: recordOrder(my, their) > 0 || isTwin(my, their),
    section: !isGone(my) && sectionOrder(my, their) > 0,
    rumour: my.status !== 'alive' && isNews(my, their),
  }
}

/** Whether `one` says of the member something that outdoes `other`. */
function isNews(one: Digest, other: Digest): boolean {
  const known = memberOf(other)
  return merge(known, memberOf(one)) !== known
}

function badNews(my: Digest, their: Digest): Rumour | undefined {
  const { owner, status, incarnation } = their
  if (status === 'alive' || !isNews(their, my)) return undefined
  return { nodeId: owner, status, incarnation, from: '', linkLost: false }
}

/** Equal numbers, other content: two nodes write records of one identity. Each must see what the other wrote. */
function isTwin(my: Digest, their: Digest): boolean {
  return (
    recordOrder(my, their) === 0 && my.recordCheck * their.recordCheck !== 0 && my.recordCheck !== their.recordCheck
  )
}

function memberOf({ owner, status, incarnation }: Digest) {
  return { nodeId: owner, status, incarnation }
}

function isGone({ status }: Digest): boolean {
  return status === 'dead' || status === 'left'
}

function recordOrder(one: Digest, other: Digest): number {
  return one.recordIncarnation - other.recordIncarnation || one.recordVersion - other.recordVersion
}

function sectionOrder(one: Digest, other: Digest): number {
  return one.sectionIncarnation - other.sectionIncarnation || one.sectionVersion - other.sectionVersion
}
