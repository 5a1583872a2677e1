import type { Comparison, PeerRequest, Receipt } from './gossip/codec.ts'
import { MAX_DIGESTS } from './limits.ts'
import type { Digest } from './member.ts'
import type { Rulings } from './rulings/rulings.ts'
import type { Self } from './self.ts'
import type { View } from './view.ts'

export interface SyncAnswerSeams {
  readonly view: View
  readonly self: Self
  readonly rulings: Rulings
}

/** What this node knows, in digests, a page at a time; only that it is the same when it is. */
export function answerCompare(
  { view, rulings }: SyncAnswerSeams,
  { view: theirs, after }: Extract<PeerRequest, { kind: 'compare' }>,
): Comparison {
  const known = rulings.hash()
  if (after === '' && Buffer.from(theirs).equals(view.hash()))
    return { kind: 'compare', same: true, digests: [], next: '', rulings: known }
  return { kind: 'compare', same: false, ...pageAfter(view, after), rulings: known }
}

/** Takes in what a peer gives, and gives what it wants. */
export async function answerExchange(
  { view, self, rulings }: SyncAnswerSeams,
  { batch, wanted, wantsRulings = false }: Extract<PeerRequest, { kind: 'exchange' }>,
  peer: string,
): Promise<Receipt> {
  view.receive(batch, peer, 'request')
  await self.refuted()
  const accused = batch.rumours.some(({ nodeId }) => nodeId === self.nodeId)
  const sections = [...batch.sections, ...(batch.deltas ?? [])]
  const sent = [...sections.map(({ owner }) => owner), ...batch.rumours.map(({ nodeId }) => nodeId)]
  const known = view.firstChunk(accused ? [self.nodeId, ...wanted] : wanted)
  const answer = wantsRulings ? { ...known, rulings: rulings.all() } : known
  return { kind: 'exchange', batch: answer, held: view.digestsOf(sent) }
}

function pageAfter(view: View, after: string): { digests: Digest[]; next: string } {
  const sorted = [...view.digests().values()].filter(({ owner }) => owner > after)
  sorted.sort((one, other) => (one.owner < other.owner ? -1 : 1))
  const digests = sorted.slice(0, MAX_DIGESTS)
  return { digests, next: sorted.length > MAX_DIGESTS ? (digests.at(-1)?.owner ?? '') : '' }
}
