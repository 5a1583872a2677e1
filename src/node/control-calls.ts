import type { MessageInitShape } from '@bufbuild/protobuf'
import { type CallContext, type CallCountsSchema, type CallRow, type GetCallsRequest, Scope } from '../rpc/index.ts'
import type { NodeCore } from './node-core.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

type CallItem = MessageInitShape<typeof CallCountsSchema>

/** What the control API tells of the calls that go through nodes. */
export function callHandlers(core: NodeCore) {
  return { getCalls: (request: GetCallsRequest, { signal }: CallContext) => calls(core, request, signal) }
}

async function calls(
  core: NodeCore,
  { scope }: GetCallsRequest,
  signal: AbortSignal,
): Promise<{ calls: CallItem[]; unreachable: string[] }> {
  const own = (await core.calls()).map((row) => toCounts(row, core.info.name))
  if (scope !== Scope.MESH) return { calls: own, unreachable: [] }
  const peers = core.peers()
  const answers = await Promise.allSettled(
    peers.map(({ nodeId }) =>
      core.control.getCalls(
        { scope: Scope.NODE },
        { timeoutMs: PEER_TIMEOUT_MS, signal, metadata: { 'hsu-node': nodeId } },
      ),
    ),
  )
  const theirs = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.calls : []))
  const unreachable = peers.filter((_, index) => answers[index]?.status === 'rejected').map(({ name }) => name)
  return { calls: [...own, ...theirs], unreachable }
}

function toCounts(row: CallRow, node: string): CallItem {
  const { door, unit, service, method, inFlight, seconds } = row
  return {
    ...{ node, door, unit, service, method, inFlight, seconds },
    codes: Object.fromEntries(Object.entries(row.codes).map(([code, count]) => [code, BigInt(count)])),
    latency: row.latency.map(BigInt),
    requestBytes: BigInt(row.requestBytes),
    responseBytes: BigInt(row.responseBytes),
    retries: BigInt(row.retries),
    held: BigInt(row.held),
    rejected: BigInt(row.rejected),
  }
}
