import { HsuError, messageOf } from '../base/error.ts'
import type { Pinger } from './detector/pinger.ts'
import { type Ack, decodeRequest, encodeResponse, type PeerRequest, type PeerResponse } from './gossip/codec.ts'
import type { Refusals } from './gossip/refusals.ts'
import { MAX_REQUESTS_PER_PEER } from './limits.ts'
import type { Rumour } from './member.ts'
import type { Self } from './self.ts'
import { answerCompare, answerExchange, type SyncAnswerSeams } from './sync-answers.ts'
import type { View } from './view.ts'

export interface AnswerSeams extends SyncAnswerSeams {
  readonly pinger: Pinger
  readonly refusals: Refusals
  /** The mesh key of that fingerprint, for a peer that may have it. */
  readonly keyFor: (peer: string, fingerprint: string) => Uint8Array | undefined
}

/**
 * Answers what other nodes ask.
 *
 * @throws HsuError USAGE for garbage, LIMIT_EXCEEDED when the peer has too many requests open; both are counted.
 */
export function createAnswers(
  seams: AnswerSeams,
): (from: string, bytes: Uint8Array, signal: AbortSignal) => Promise<Uint8Array> {
  const open = new Map<string, number>()

  return async (from, bytes, signal) => {
    const request = readRequest(seams.refusals, from, bytes)
    const count = (open.get(from) ?? 0) + 1
    if (count > MAX_REQUESTS_PER_PEER) {
      seams.refusals.note(from, `more than ${MAX_REQUESTS_PER_PEER} requests at once`)
      throw new HsuError('LIMIT_EXCEEDED', `more than ${MAX_REQUESTS_PER_PEER} requests at once`)
    }
    open.set(from, count)
    try {
      return encodeResponse(await answer(seams, from, request, signal))
    } finally {
      const left = (open.get(from) ?? 1) - 1
      if (left > 0) open.set(from, left)
      else open.delete(from)
    }
  }
}

function readRequest(refusals: Refusals, from: string, bytes: Uint8Array): PeerRequest {
  try {
    return decodeRequest(bytes)
  } catch (error) {
    refusals.note(from, messageOf(error))
    throw error
  }
}

async function answer(
  seams: AnswerSeams,
  from: string,
  request: PeerRequest,
  signal: AbortSignal,
): Promise<PeerResponse> {
  const { self, view, pinger, keyFor } = seams
  switch (request.kind) {
    case 'ping':
      return answerPing(self, view, from, request.belief)
    case 'indirectPing':
      return pinger.onBehalf(request.target, request.belief, signal)
    case 'compare':
      return answerCompare(seams, request)
    case 'exchange':
      return answerExchange(seams, request, from)
    case 'key':
      return { kind: 'key', key: keyFor(from, request.fingerprint) }
  }
}

/** Answers at once when nothing is held against this node; else refutes first, and hands over the proof. */
async function answerPing(self: Self, view: View, from: string, belief: Rumour | undefined): Promise<Ack> {
  const accused = belief?.nodeId === self.nodeId
  if (accused) view.receive({ records: [], rumours: [belief], sections: [] }, from, 'request')
  if (accused) await self.refuted()
  return { kind: 'ack', alive: true, record: accused ? self.signed : undefined, belief: view.badNewsOf(from) }
}
