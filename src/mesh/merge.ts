/** What is believed of a member; `suspect` still counts as present, `dead` and `left` do not. */
export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left'

/** A member as the membership list sees it. */
export interface Member {
  readonly nodeId: string
  readonly status: MemberStatus
  /** Raised only by the member itself, to overrule what others say of it. */
  readonly incarnation: number
}

/** At equal incarnation the worse news wins; only the member itself can answer back, with a higher one (SWIM §4.2). */
const SEVERITY: Record<MemberStatus, number> = { alive: 0, suspect: 1, dead: 2, left: 3 }

/**
 * Returns whichever record is newer. Commutative, associative and idempotent,
 * so messages may be lost, doubled or reordered and views still converge.
 * Returns `known` itself when nothing is learnt: compare by identity.
 */
export function merge(known: Member, heard: Member): Member {
  if (heard.incarnation !== known.incarnation) return heard.incarnation > known.incarnation ? heard : known
  return SEVERITY[heard.status] > SEVERITY[known.status] ? heard : known
}

/** The answer to a rumour about oneself: outbids it when it is bad news of this incarnation or a later one. */
export function refute(self: Member, rumour: Member): Member {
  const stale = rumour.incarnation < self.incarnation
  if (stale || (rumour.status === 'alive' && rumour.incarnation === self.incarnation)) return self
  return { ...self, status: 'alive', incarnation: rumour.incarnation + 1 }
}

/** Whether the member still counts as present: its endpoints are used, it is pinged. */
export function isLive(status: MemberStatus): boolean {
  return status === 'alive' || status === 'suspect'
}
