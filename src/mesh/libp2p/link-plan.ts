/** One open connection to a peer, as far as the plan needs it. */
export interface Link {
  readonly id: string
  readonly peer: string
  readonly direction: 'inbound' | 'outbound'
  readonly openedAtMs: number
  /** Our gossip stream is on this connection. Without it nothing we broadcast reaches the peer. */
  readonly gossipOut: boolean
  /** The peer's gossip stream is on this connection. */
  readonly gossipIn: boolean
}

/** What is known of a peer's link. */
export interface KnownPeer {
  readonly peer: string
  /** Whether there is an address to dial. */
  readonly isDialable: boolean
  readonly dialing: boolean
  /** The mesh takes it for dead: what connections there are may be so, too, and not know it. */
  readonly presumedDead: boolean
  /** Since when there has been no connection. */
  readonly absentSinceMs: number
  /** No dial before this moment. */
  readonly restUntilMs: number
  /** Since when there has been a connection without our gossip stream; undefined when all is well. */
  readonly bareSinceMs: number | undefined
  /** The stream was asked for again since then. */
  readonly reopened: boolean
}

/** Times of the link plan, all in milliseconds; measured values in findings/mesh.md 5. */
export interface LinkPolicy {
  /** How long the side with the higher id waits for the other to dial. */
  readonly graceMs: number
  /** How long two connections may coexist before the lower id closes one; the higher id waits ten times as long. */
  readonly settleMs: number
  /** Two connections opened further apart than this were not dialled at once: the peer lost the older one. */
  readonly apartMs: number
  /** How long a link may lack our gossip stream before it is asked for again, and before the link is recycled. */
  readonly reopenAfterMs: number
  readonly recycleAfterMs: number
  readonly maxDials: number
}

export const LINK_POLICY: LinkPolicy = {
  graceMs: 1_500,
  settleMs: 300,
  apartMs: 2_000,
  reopenAfterMs: 500,
  recycleAfterMs: 2_500,
  maxDials: 32,
}

export type LinkAction =
  | { readonly do: 'dial'; readonly peer: string }
  | { readonly do: 'close'; readonly link: string }
  | { readonly do: 'reopen'; readonly peer: string; readonly link: string }
  | { readonly do: 'recycle'; readonly peer: string }

/**
 * What to do now so that each known peer has exactly one connection, with gossip on it. Ids are compared as text: the
 * lower dials first, and only the lower closes duplicates (the higher does only when the lower plainly does not).
 */
export function planLinks(
  self: string,
  nowMs: number,
  known: Iterable<KnownPeer>,
  links: readonly Link[],
  policy: LinkPolicy = LINK_POLICY,
): LinkAction[] {
  const byPeer = groupByPeer(links)
  const mends: LinkAction[] = []
  const dials: LinkAction[] = []
  let dialing = 0
  for (const peer of known) {
    const own = byPeer.get(peer.peer) ?? []
    if (peer.dialing) dialing += 1
    if (own.length > 0 && !peer.presumedDead) mends.push(...mend(self, nowMs, peer, own, policy))
    else if (isDialDue(self, nowMs, peer, policy)) dials.push({ do: 'dial', peer: peer.peer })
  }
  return [...mends, ...dials.slice(0, Math.max(0, policy.maxDials - dialing))]
}

/** In how many milliseconds something may be due, as far as is known now: 0 = soon, Infinity = all is as it should be. */
export function dueInMs(
  self: string,
  nowMs: number,
  known: Iterable<KnownPeer>,
  links: readonly Link[],
  policy: LinkPolicy = LINK_POLICY,
): number {
  const byPeer = groupByPeer(links)
  let dueMs = Infinity
  for (const peer of known) {
    const open = byPeer.get(peer.peer)?.length ?? 0
    if (open === 1 && !peer.presumedDead && peer.bareSinceMs === undefined) continue
    if (open > 0 && !peer.presumedDead) return 0
    if (peer.isDialable) dueMs = Math.min(dueMs, dialDueMs(self, peer, policy) - nowMs)
  }
  return dueMs
}

function dialDueMs(self: string, peer: KnownPeer, policy: LinkPolicy): number {
  return self < peer.peer ? peer.restUntilMs : Math.max(peer.restUntilMs, peer.absentSinceMs + policy.graceMs)
}

function isDialDue(self: string, nowMs: number, peer: KnownPeer, policy: LinkPolicy): boolean {
  return !peer.dialing && peer.isDialable && nowMs >= dialDueMs(self, peer, policy)
}

function mend(self: string, nowMs: number, peer: KnownPeer, links: readonly Link[], policy: LinkPolicy): LinkAction[] {
  const newestMs = Math.max(...links.map(({ openedAtMs }) => openedAtMs))
  const patienceMs = self < peer.peer ? policy.settleMs : policy.settleMs * 10
  if (links.length > 1 && nowMs - newestMs >= patienceMs) {
    const kept = bestLink(self, links, policy)
    return links.filter((link) => link !== kept).map(({ id }) => ({ do: 'close', link: id }))
  }
  if (peer.bareSinceMs === undefined) return []
  const bareMs = nowMs - peer.bareSinceMs
  if (bareMs >= policy.recycleAfterMs) return [{ do: 'recycle', peer: peer.peer }]
  const link = links[0]
  if (bareMs < policy.reopenAfterMs || peer.reopened || link === undefined) return []
  return [{ do: 'reopen', peer: peer.peer, link: link.id }]
}

/**
 * Which of several connections to one peer stays: the newest when the others are much older (the peer has lost those
 * and dialled again), otherwise the one that carries more gossip streams, then the one that the lower id dialled.
 */
export function bestLink(self: string, links: readonly Link[], policy: LinkPolicy = LINK_POLICY): Link | undefined {
  const byAge = [...links].sort((a, b) => a.openedAtMs - b.openedAtMs)
  const [oldest, newest] = [byAge[0], byAge.at(-1)]
  if (oldest === undefined || newest === undefined) return undefined
  if (newest.openedAtMs - oldest.openedAtMs >= policy.apartMs) return newest
  const dialledByLower = (link: Link): boolean => self < link.peer === (link.direction === 'outbound')
  const rank = (link: Link): number =>
    (link.gossipOut ? 4 : 0) + (link.gossipIn ? 4 : 0) + (dialledByLower(link) ? 2 : 0)
  return byAge.reduce((best, link) => (rank(link) > rank(best) ? link : best))
}

/**
 * Whether a connection whose peer has just become known may be completed, given those already open to that peer.
 * A dial of ours that finds a connection there already (a seed, whose peer is unknown beforehand) gives way. Of two
 * sides that dial at once the lower refuses the second connection; what opens much later replaces a lost one.
 */
export function admits(
  self: string,
  peer: string,
  direction: Link['direction'],
  nowMs: number,
  open: readonly Link[],
  policy: LinkPolicy = LINK_POLICY,
): boolean {
  if (open.length === 0) return true
  if (direction === 'outbound') return false
  return self > peer || open.every(({ openedAtMs }) => nowMs - openedAtMs >= policy.apartMs)
}

/** Since when the link has lacked our gossip stream, one observation later. */
export function bareSince(previous: number | undefined, links: readonly Link[], nowMs: number): number | undefined {
  if (links.length === 0 || links.some(({ gossipOut }) => gossipOut)) return undefined
  return previous ?? nowMs
}

function groupByPeer(links: readonly Link[]): Map<string, Link[]> {
  const groups = new Map<string, Link[]>()
  for (const link of links) {
    const group = groups.get(link.peer)
    if (group === undefined) groups.set(link.peer, [link])
    else group.push(link)
  }
  return groups
}
