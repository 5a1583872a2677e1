import { HsuError, messageOf } from '../base/error.ts'
import { type CallOptions, Scope } from '../rpc/index.ts'
import { lastOf, mergeOrdered, mergeStreams, type OpenStream, orderedStart } from './merge-streams.ts'
import type { NodeCore, Peer } from './node-core.ts'

/** How often a follower looks for nodes that have come. */
const NEWCOMERS_MS = 1_000
/** How long the past items of several nodes are gathered before they are put in order and shown. */
const PAST_WINDOW_MS = 250

/** How one stream of a mesh-wide answer is opened, and by what the streams are merged. */
export interface FanOut<T> {
  readonly own: OpenStream<T>
  /** `late` = for a follower, of a node that it did not find at its start. */
  readonly ofPeer: (options: CallOptions, late: boolean) => AsyncIterable<T>
  /** Whether a follower takes in nodes that come later. */
  readonly takesNewcomers?: boolean
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
  { own, ofPeer, keyOf, takesNewcomers = false }: FanOut<T>,
): AsyncGenerator<T> {
  if (scope !== Scope.MESH) {
    yield* own(signal)
    return
  }
  const { log } = core
  const peers = [...core.peers()]
  const streamOf =
    ({ nodeId }: Peer, late: boolean): OpenStream<T> =>
    (signal) =>
      ofPeer({ signal, metadata: { 'hsu-node': nodeId } }, late)
  const sources = [own, ...peers.map((peer) => streamOf(peer, false))]
  const nobody = new AbortController()
  let strangers = 0
  const onError = (error: unknown, index: number): void => {
    // Most nodes do not run the unit that is asked for; only when none does is that the answer.
    if (error instanceof HsuError && error.reason === 'UNIT_NOT_FOUND') strangers += 1
    else log.warn('a node is left out of a mesh-wide answer', { node: peers[index - 1]?.name, cause: messageOf(error) })
    if (strangers === peers.length + 1) nobody.abort()
  }
  const newcomers = async function* (signal: AbortSignal): AsyncGenerator<OpenStream<T>> {
    for await (const peer of peersToCome(core, peers, AbortSignal.any([signal, nobody.signal]))) {
      peers.push(peer)
      yield streamOf(peer, true)
    }
  }
  if (!follow) {
    yield* lastOf(mergeOrdered(sources, signal, keyOf, onError), tail)
  } else {
    const live = mergeStreams(sources, signal, onError, takesNewcomers ? newcomers : undefined)
    yield* orderedStart(live, { clock: core.clock, windowMs: PAST_WINDOW_MS, count: tail }, keyOf)
  }
  if (strangers === peers.length + 1) {
    throw new HsuError('UNIT_NOT_FOUND', `no node runs a unit ${units.join(' or ')}`)
  }
}

/** Nodes that can be asked and are not among `known`, as they come, until `signal` aborts. */
async function* peersToCome(
  { clock, peers }: Pick<NodeCore, 'clock' | 'peers'>,
  known: readonly Peer[],
  signal: AbortSignal,
): AsyncGenerator<Peer> {
  const quiet = (): undefined => undefined
  for (;;) {
    await clock.sleep(NEWCOMERS_MS, signal).catch(quiet)
    if (signal.aborted) return
    yield* peers().filter(({ nodeId }) => !known.some((each) => each.nodeId === nodeId))
  }
}
