import { withSignal } from '../../base/abort.ts'
import { type Clock, TIMED_OUT, withinSignal } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { type Random, sample } from '../../base/random.ts'
import type { MeshTiming } from '../config.ts'
import { type Ack, decodeResponse, encodeRequest, type PeerRequest } from '../gossip/codec.ts'
import type { Rumour } from '../member.ts'
import type { Membership } from '../membership.ts'
import { askBytes } from '../sync.ts'
import type { Transport } from '../transport.ts'
import type { View } from '../view.ts'
import type { Awareness } from './awareness.ts'
import { type Pace, patience } from './pace.ts'

/** How a ping ended. `silent` = no answer in time; `unreachable` = there is no connection to ask over. */
export type PingResult = 'alive' | 'silent' | 'unreachable'

/** How the indirect pings ended: whether one got through, and how many helpers answered at all. */
export interface IndirectResult {
  readonly alive: boolean
  readonly asked: number
  readonly answered: number
}

export interface PingSeams {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly membership: Membership
  readonly view: View
  readonly awareness: Awareness
  readonly pace: Pace
  /** A member answered a ping of ours after `ms`, perhaps too late to be waited for. */
  readonly answered: (nodeId: string, ms: number) => void
  /** Aborts when the node ends: late answers are waited for no longer. */
  readonly ending: AbortSignal
}

/** Asks members whether they live, directly or through others. Nothing here judges. */
export interface Pinger {
  direct(target: string, signal: AbortSignal): Promise<PingResult>
  /** Asks up to `indirectPings` other members to ping `target`; resolves at the first success. */
  indirect(target: string, signal: AbortSignal): Promise<IndirectResult>
  /** Pings `target` in the place of `peer`, telling it what `peer` believes. */
  onBehalf(target: string, belief: Rumour | undefined, signal: AbortSignal): Promise<Ack>
}

/** How long the answer to a ping that failed is listened for, as a multiple of the time it had: it tells how slow the network is. */
const LATE_FACTOR = 4

/** How many late answers of one member are listened for at once; bounds what a silent one costs. */
const MAX_LATE = 3

export function createPinger(seams: PingSeams, timing: MeshTiming): Pinger {
  const { clock, membership, view, awareness, random, pace, answered, ending } = seams
  const late = new Map<string, number>()

  async function ask(peer: string, request: PeerRequest, timeoutMs: number, signal: AbortSignal): Promise<Ack> {
    const ack = decodeResponse('ack', await askBytes(seams, peer, encodeRequest(request), timeoutMs, signal))
    // The record may be of the pinged member, which a helper only passes on; belief is about this node.
    const records = ack.record === undefined ? [] : [ack.record]
    const rumours = ack.belief === undefined ? [] : [ack.belief]
    view.receive({ records, rumours, sections: [] }, peer, 'request')
    return ack
  }

  async function ping(target: string, timeoutMs: number, signal: AbortSignal): Promise<PingResult> {
    const startedAtMs = clock.nowMs()
    try {
      await ask(target, { kind: 'ping', belief: beliefIn(membership, target) }, timeoutMs, signal)
      answered(target, clock.nowMs() - startedAtMs)
      return 'alive'
    } catch (error) {
      return error instanceof HsuError && error.reason === 'TIMED_OUT' ? 'silent' : 'unreachable'
    }
  }

  /** Pings and goes on listening when nobody waits for the answer any more. */
  async function listen(target: string, timeoutMs: number): Promise<PingResult> {
    late.set(target, (late.get(target) ?? 0) + 1)
    const result = await ping(target, timeoutMs * LATE_FACTOR, ending)
    const left = (late.get(target) ?? 1) - 1
    if (left > 0) late.set(target, left)
    else late.delete(target)
    return result
  }

  function helpersFor(target: string): string[] {
    const others = membership
      .live()
      .filter(({ member }) => member.status === 'alive' && member.nodeId !== target)
      .map(({ member }) => member.nodeId)
    return sample(others, timing.indirectPings, random)
  }

  return {
    async direct(target, signal) {
      const timeoutMs = timing.pingTimeoutMs * patience(awareness.multiplier(), pace.of(target))
      const waiting = late.get(target) ?? 0
      const outcome = waiting < MAX_LATE ? listen(target, timeoutMs) : ping(target, timeoutMs, signal)
      const first = await withinSignal(clock, timeoutMs, signal, () => outcome)
      return first === TIMED_OUT ? 'silent' : first
    },

    async indirect(target, signal) {
      const helpers = helpersFor(target)
      const request: PeerRequest = { kind: 'indirectPing', target, belief: beliefIn(membership, target) }
      // Helpers give up before we do, so that their "no" still reaches us and tells it apart from silence.
      const timeoutMs = timing.indirectTimeoutMs * patience(awareness.multiplier(), pace.of(target))
      let answered = 0
      const alive = await withSignal(signal, async (inner) => {
        const answers = helpers.map(async (helper) => {
          const ack = await ask(helper, request, timeoutMs, inner)
          answered += 1
          if (!ack.alive) throw new HsuError('NODE_UNREACHABLE', 'the helper got no answer either')
          return true
        })
        return Promise.any(answers).catch(() => false)
      })
      return { alive, asked: helpers.length, answered }
    },

    async onBehalf(target, belief, signal) {
      const timeoutMs = Math.round(timing.indirectTimeoutMs * HELPER_SHARE * pace.of(target))
      const request = encodeRequest({ kind: 'ping', belief })
      try {
        const ack = decodeResponse('ack', await askBytes(seams, target, request, timeoutMs, signal))
        return { kind: 'ack', alive: true, record: ack.record, belief: undefined }
      } catch {
        return { kind: 'ack', alive: false, record: undefined, belief: undefined }
      }
    },
  }
}

/** The part of `indirectTimeoutMs` in which a helper must have its answer. */
const HELPER_SHARE = 0.75

/** Bad news that the target should hear of itself; a member in good standing needs none. */
function beliefIn(membership: Membership, target: string): Rumour | undefined {
  const member = membership.get(target)?.member
  if (member === undefined || member.status === 'alive') return undefined
  const { nodeId, status, incarnation } = member
  return { nodeId, status, incarnation, from: '', linkLost: false }
}
