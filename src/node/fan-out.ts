import { HsuError, messageOf } from '../base/error.ts'
import { type CallOptions, Scope } from '../rpc/index.ts'
import { lastOf, mergeOrdered, mergeStreams, type OpenStream, orderedStart } from './merge-streams.ts'
import type { NodeCore } from './node-core.ts'

/** How long the past items of several nodes are gathered before they are put in order and shown. */
const PAST_WINDOW_MS = 250

/** How one stream of a mesh-wide answer is opened, and by what the streams are merged. */
export interface FanOut<T> {
  readonly own: OpenStream<T>
  readonly ofPeer: (options: CallOptions) => AsyncIterable<T>
  readonly keyOf: (item: T) => number
}

interface FanOutRequest {
  readonly units: readonly string[]
  readonly scope: Scope
  readonly follow: boolean
  readonly tail?: number | undefined
}

/** Asks this node, or every node of the mesh, and merges what they say by time. */
export async function* fanOut<T>(
  core: NodeCore,
  { scope, units, follow, tail }: FanOutRequest,
  signal: AbortSignal,
  { own, ofPeer, keyOf }: FanOut<T>,
): AsyncGenerator<T> {
  if (scope !== Scope.MESH) {
    yield* own(signal)
    return
  }
  const { log } = core
  const peers = core.peers()
  const theirs = peers.map(
    ({ nodeId }): OpenStream<T> =>
      (signal) =>
        ofPeer({ signal, metadata: { 'hsu-node': nodeId } }),
  )
  const sources = [own, ...theirs]
  let strangers = 0
  const onError = (error: unknown, index: number): void => {
    // Most nodes do not run the unit that is asked for; only when none does is that the answer.
    if (error instanceof HsuError && error.reason === 'UNIT_NOT_FOUND') strangers += 1
    else log.warn('a node is left out of a mesh-wide answer', { node: peers[index - 1]?.name, cause: messageOf(error) })
  }
  if (!follow) {
    yield* lastOf(mergeOrdered(sources, signal, keyOf, onError), tail)
  } else {
    const live = mergeStreams(sources, signal, onError)
    yield* orderedStart(live, { clock: core.clock, windowMs: PAST_WINDOW_MS, count: tail }, keyOf)
  }
  if (strangers === sources.length) throw new HsuError('UNIT_NOT_FOUND', `no node runs a unit ${units.join(' or ')}`)
}
