import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  type CallContext,
  type GetUsageRequest,
  type NodeUsageSchema,
  Scope,
  type StreamUsageRequest,
  type StreamUsageResponseSchema,
} from '../rpc/index.ts'
import { fanOut } from './fan-out.ts'
import type { NodeCore } from './node-core.ts'
import { fromTimestamp, toTimestamp, toUsage } from './to-proto.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

type NodeUsageItem = MessageInitShape<typeof NodeUsageSchema>
type SeriesItem = MessageInitShape<typeof StreamUsageResponseSchema>

/** What the control API tells of the use of processors and memory. */
export function usageHandlers(core: NodeCore) {
  return {
    getUsage: (request: GetUsageRequest, { signal }: CallContext) => nodeUsage(core, request, signal),
    streamUsage: (request: StreamUsageRequest, { signal }: CallContext) => streamUsage(core, request, signal),
  }
}

async function nodeUsage(
  core: NodeCore,
  { scope }: GetUsageRequest,
  signal: AbortSignal,
): Promise<{ nodes: NodeUsageItem[]; unreachable: string[] }> {
  const usage = await core.ownUsage()
  const own = {
    node: core.info.name,
    startedAt: toTimestamp(core.info.startedAtMs),
    ...(usage === undefined ? {} : { usage: toUsage(usage) }),
  }
  if (scope !== Scope.MESH) return { nodes: [own], unreachable: [] }
  const peers = core.peers()
  const answers = await Promise.allSettled(
    peers.map(({ nodeId }) =>
      core.control.getUsage(
        { scope: Scope.NODE },
        { timeoutMs: PEER_TIMEOUT_MS, signal, metadata: { 'hsu-node': nodeId } },
      ),
    ),
  )
  const theirs = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.nodes : []))
  const unreachable = peers.filter((_, index) => answers[index]?.status === 'rejected').map(({ name }) => name)
  return { nodes: [own, ...theirs], unreachable }
}

function streamUsage(core: NodeCore, request: StreamUsageRequest, signal: AbortSignal): AsyncIterable<SeriesItem> {
  const query = { units: request.units, sinceMs: fromTimestamp(request.since) }
  return fanOut<SeriesItem>(core, { ...request, follow: false }, signal, {
    own: async function* () {
      for (const { unit, replica, samples } of core.supervisor.usage(query)) {
        const items = samples.map(({ wallMs, instance, usage }) => {
          return { time: toTimestamp(wallMs), instance, usage: toUsage(usage) }
        })
        yield { unit, replica, node: core.info.name, samples: items }
      }
    },
    ofPeer: (options) => core.control.streamUsage({ ...request, scope: Scope.NODE }, options),
    // One series after the other: there is no time to merge them by.
    keyOf: () => 0,
  })
}
