import type { MessageInitShape } from '@bufbuild/protobuf'
import { BoundedQueue } from '../base/queue.ts'
import {
  ALL_CALLS,
  type CallContext,
  type CallCountsSchema,
  type CallInterest,
  type CallRecordSchema,
  type CallRow,
  type EndedCall,
  type GetCallsRequest,
  Scope,
  type StreamCallsRequest,
  type StreamCallsResponseSchema,
} from '../rpc/index.ts'
import { callLine } from './calls/call-line.ts'
import { fanOut } from './fan-out.ts'
import type { NodeCore } from './node-core.ts'
import { fromTimestamp, type Timestamp, toTimestamp } from './to-proto.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

/** Calls that a watcher has not taken yet; those beyond it does not see. */
const MAX_WAITING = 2_000

const FAILED_CALLS: CallInterest = { share: 0, failed: true, traced: false }

type StreamItem = MessageInitShape<typeof StreamCallsResponseSchema>
type CallItem = MessageInitShape<typeof CallCountsSchema>

/** What the control API tells of the calls that go through nodes. */
export function callHandlers(core: NodeCore) {
  return {
    getCalls: (request: GetCallsRequest, { signal }: CallContext) => calls(core, request, signal),
    streamCalls: (request: StreamCallsRequest, { signal }: CallContext) => streamCalls(core, request, signal),
  }
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

function streamCalls(core: NodeCore, request: StreamCallsRequest, signal: AbortSignal): AsyncIterable<StreamItem> {
  const door = request.scope === Scope.MESH ? 'ingress' : request.door
  return fanOut<StreamItem>(core, { ...request, follow: true }, signal, {
    own: (signal) => ownCalls(core, { ...request, door }, signal),
    ofPeer: (options) => core.control.streamCalls({ ...request, door, scope: Scope.NODE }, options),
    takesNewcomers: true,
    keyOf: ({ call }) => fromTimestamp(call?.time as Timestamp | undefined) ?? 0,
  })
}

async function* ownCalls(
  core: NodeCore,
  { units, failed, door }: Pick<StreamCallsRequest, 'units' | 'failed' | 'door'>,
  signal: AbortSignal,
): AsyncGenerator<StreamItem> {
  const waiting = new BoundedQueue<EndedCall>(MAX_WAITING, 'drop-oldest')
  let lost = 0
  const end = core.watchCalls(failed ? FAILED_CALLS : ALL_CALLS, (ended) => {
    lost += ended.lost
    for (const call of ended.calls) {
      if ((units.length === 0 || units.includes(call.unit)) && (door === '' || door === call.door)) waiting.push(call)
    }
  })
  const leave = (): void => waiting.close()
  signal.addEventListener('abort', leave)
  if (signal.aborted) leave()
  try {
    let told = 0
    for await (const call of waiting) {
      yield { call: toRecord(call, core) }
      const missing = lost + waiting.dropped - told
      if (missing > 0) yield { lost: BigInt(missing) }
      told += missing
    }
  } finally {
    signal.removeEventListener('abort', leave)
    end()
  }
}

function toRecord(call: EndedCall, core: NodeCore): MessageInitShape<typeof CallRecordSchema> {
  const line = callLine(call, core.lineContext)
  return {
    ...line,
    time: toTimestamp(call.endedAtMs),
    requestBytes: BigInt(line.requestBytes),
    responseBytes: BigInt(line.responseBytes),
  }
}
