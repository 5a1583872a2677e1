import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import type { RunRecord } from '../process/index.ts'
import {
  type CallContext,
  type ListRunsRequest,
  type RunSchema,
  type RunUnitRequest,
  type RunUnitResponseSchema,
  Scope,
  type StopRunRequest,
} from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import type { NodeCore } from './node-core.ts'
import { toExit, toLogLine, toTimestamp } from './to-proto.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

type RunInit = MessageInitShape<typeof RunSchema>

/** The part of the control API that is about jobs. */
export function jobHandlers(core: NodeCore) {
  return {
    runUnit: (request: RunUnitRequest, context: CallContext) => runUnit(core, request, context),
    listRuns: (request: ListRunsRequest, { signal }: CallContext) => listRuns(core, request, signal),
    async stopRun({ unit, run, force }: StopRunRequest, context: CallContext) {
      core.supervisor.jobs.stop(unit, run, force, askerOf(context))
      return {}
    },
  }
}

async function* runUnit(
  core: NodeCore,
  { unit, args, detach, run: id, after }: RunUnitRequest,
  context: CallContext,
): AsyncGenerator<MessageInitShape<typeof RunUnitResponseSchema>> {
  const { jobs } = core.supervisor
  const { name } = core.info
  core.specOf(unit)
  core.refuseWhenStopping()
  const run = id === '' ? await jobs.run(unit, args, askerOf(context)) : jobs.rejoin(unit, id)
  yield { what: { case: 'started', value: toRun(run.record(), unit, name) } }
  if (detach) return
  const seen = after.map(({ instance, seq }) => ({ instance, seq: Number(seq) }))
  for await (const line of run.lines(context.signal, seen))
    yield { what: { case: 'line', value: toLogLine(line, name) } }
  if (context.signal.aborted) return
  if (run.record().state === 'running') {
    const text = `run ${run.record().id} of unit '${unit}' goes on without this process of the node`
    throw new HsuError('NODE_DRAINING', text, { details: { unit } })
  }
  yield { what: { case: 'ended', value: toRun(run.record(), unit, name) } }
}

async function listRuns(
  core: NodeCore,
  { units, scope }: ListRunsRequest,
  signal: AbortSignal,
): Promise<{ runs: RunInit[]; unreachable: string[] }> {
  const own = ownRuns(core, units)
  if (scope !== Scope.MESH) return { runs: own, unreachable: [] }
  const peers = core.peers()
  const answers = await Promise.allSettled(
    peers.map(({ nodeId }) =>
      core.control.listRuns(
        { scope: Scope.NODE, units },
        { timeoutMs: PEER_TIMEOUT_MS, signal, metadata: { 'hsu-node': nodeId } },
      ),
    ),
  )
  const theirs = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.runs : []))
  const unreachable = peers.filter((_, index) => answers[index]?.status === 'rejected').map(({ name }) => name)
  return { runs: [...own, ...theirs], unreachable }
}

function ownRuns({ supervisor, info }: NodeCore, units: readonly string[]): RunInit[] {
  const names = new Set(supervisor.status().flatMap(({ unit, kind }) => (kind === 'unmanaged' ? [] : [unit])))
  return [...names]
    .filter((unit) => units.length === 0 || units.includes(unit))
    .flatMap((unit) => supervisor.jobs.runs(unit).map((run) => toRun(run, unit, info.name)))
}

function toRun(record: RunRecord, unit: string, node: string): RunInit {
  const { id, state, cause, actor, tickMs, startedAtMs, endedAtMs, exit, attempts, reason, instance, args, lane } =
    record
  return {
    ...{ run: id, unit, node, state, cause, actor, attempts, reason, instance, replica: lane },
    args: [...args],
    startedAt: toTimestamp(startedAtMs),
    ...(tickMs === undefined ? {} : { tick: toTimestamp(tickMs) }),
    ...(endedAtMs === undefined ? {} : { endedAt: toTimestamp(endedAtMs) }),
    ...(exit === undefined ? {} : { exit: toExit(exit) }),
  }
}
