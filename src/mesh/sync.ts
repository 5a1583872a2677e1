import { TIMED_OUT, type Clock, withinSignal } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { MeshTiming } from './config.ts'
import {
  decodeResponse,
  EMPTY_BATCH,
  encodeRequest,
  type PeerRequest,
  type PeerResponse,
  type Receipt,
} from './gossip/codec.ts'
import { MAX_ITEMS, MAX_MEMBERS } from './limits.ts'
import type { Batch, Digest } from './member.ts'
import type { Rulings } from './rulings/rulings.ts'
import type { Self } from './self.ts'
import { planSync } from './sync-plan.ts'
import type { Transport } from './transport.ts'
import type { View } from './view.ts'

export interface SyncSeams {
  readonly clock: Clock
  readonly transport: Transport
  readonly view: View
  readonly self: Self
  readonly rulings: Rulings
  /** A peer answered a small request after `ms`. */
  readonly answered: (peer: string, ms: number) => void
}

/** The most exchanges of one sync: enough for a full view of `MAX_MEMBERS` in chunks. */
const MAX_ROUNDS = 256

/** Anti-entropy: two nodes compare what they know and give each other what the other lacks. */
export interface Sync {
  /**
   * Brings this node and `peer` to the same view. Costs two hashes when they have it already.
   *
   * @throws HsuError NODE_UNREACHABLE, TIMED_OUT, USAGE when the answer makes no sense.
   */
  withPeer(peer: string, signal: AbortSignal): Promise<void>
  /** Sends news and returns what the peer holds afterwards of the owners concerned. @throws as `withPeer` */
  push(peer: string, batch: Batch, signal: AbortSignal): Promise<readonly Digest[]>
  /** Asks for all that the peer knows of `owner`. @throws as `withPeer` */
  pull(peer: string, owner: string, signal: AbortSignal): Promise<void>
  /** Asks for a mesh key; undefined when the peer has not got it, or this node may not have it. @throws as `withPeer` */
  askKey(peer: string, fingerprint: string, signal: AbortSignal): Promise<Uint8Array | undefined>
}

/** What a peer knows, in digests. */
interface Stand {
  readonly digests: readonly Digest[]
  /** Hash over its rulings. */
  readonly rulings: Uint8Array
}

export function createSync(seams: SyncSeams, timing: MeshTiming): Sync {
  const { view, self, rulings } = seams

  async function ask<K extends PeerResponse['kind']>(kind: K, peer: string, request: PeerRequest, signal: AbortSignal) {
    const startedAtMs = seams.clock.nowMs()
    const bytes = await askBytes(seams, peer, encodeRequest(request), timing.syncTimeoutMs, signal)
    if (kind === 'compare') seams.answered(peer, seams.clock.nowMs() - startedAtMs)
    return decodeResponse(kind, bytes)
  }

  async function exchange(
    peer: string,
    batch: Batch,
    wanted: readonly string[],
    signal: AbortSignal,
  ): Promise<Receipt> {
    const receipt = await ask('exchange', peer, { kind: 'exchange', batch, wanted }, signal)
    view.receive(receipt.batch, peer, 'request')
    return receipt
  }

  /** Undefined when the views are equal already. */
  async function standOf(peer: string, signal: AbortSignal): Promise<Stand | undefined> {
    const digests: Digest[] = []
    let theirRulings: Uint8Array
    let after = ''
    do {
      const answer = await ask('compare', peer, { kind: 'compare', view: view.hash(), after }, signal)
      if (answer.same) return undefined
      digests.push(...answer.digests)
      theirRulings = answer.rulings
      if (answer.next <= after || digests.length > MAX_MEMBERS) break
      after = answer.next
    } while (after !== '')
    return { digests, rulings: theirRulings }
  }

  /** Who is removed must be known before anything else is taken in. */
  async function shareRulings(peer: string, theirs: Uint8Array, signal: AbortSignal): Promise<void> {
    if (Buffer.from(theirs).equals(rulings.hash())) return
    const batch = { ...EMPTY_BATCH, rulings: rulings.all() }
    const receipt = await ask('exchange', peer, { kind: 'exchange', batch, wanted: [], wantsRulings: true }, signal)
    view.receive(receipt.batch, peer, 'request')
  }

  async function withPeer(peer: string, signal: AbortSignal): Promise<void> {
    const stand = await standOf(peer, signal)
    if (stand === undefined) return
    await shareRulings(peer, stand.rulings, signal)
    const theirs = stand.digests.filter(({ owner }) => owner === self.nodeId || !rulings.isRemoved(owner))
    view.receive({ ...EMPTY_BATCH, rumours: planSync(view.digests(), theirs).rumours }, peer, 'request')
    // What they say of us must be answered before they are told what is new here.
    await self.refuted()
    const { give, wanted } = planSync(view.digests(), theirs)
    const messages = view.chunks(give)
    let lacking = wanted
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const next = messages.next()
      if (next.done === true && lacking.length === 0) return
      const batch = next.done === true ? EMPTY_BATCH : next.value
      await exchange(peer, batch, lacking.slice(0, MAX_ITEMS), signal)
      const before = lacking.length
      lacking = stillWanted(view, theirs, lacking)
      if (next.done === true && lacking.length === before) return
    }
  }

  return {
    withPeer,
    async push(peer, batch, signal) {
      return (await exchange(peer, batch, [], signal)).held
    },
    async pull(peer, owner, signal) {
      await exchange(peer, EMPTY_BATCH, [owner], signal)
    },
    async askKey(peer, fingerprint, signal) {
      return (await ask('key', peer, { kind: 'key', fingerprint }, signal)).key
    },
  }
}

/**
 * One request with a time limit, cancelled when either ends.
 *
 * @throws HsuError NODE_UNREACHABLE, TIMED_OUT.
 */
export async function askBytes(
  { clock, transport }: { readonly clock: Clock; readonly transport: Transport },
  peer: string,
  bytes: Uint8Array,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const answer = await withinSignal(clock, timeoutMs, signal, (inner) => transport.request(peer, bytes, inner))
  if (answer !== TIMED_OUT) return answer
  throw new HsuError('TIMED_OUT', `no answer from ${peer} within ${timeoutMs} ms`, { details: { nodeId: peer } })
}

function stillWanted(view: View, theirs: readonly Digest[], wanted: readonly string[]): readonly string[] {
  const now = new Set(planSync(view.digests(), theirs).wanted)
  return wanted.filter((owner) => now.has(owner))
}
