import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import { parseDurationMs } from '../base/quantity.ts'
import {
  type CallContext,
  ControlService,
  type EventSchema,
  implement,
  type ListUnitsRequest,
  Scope,
  type ServiceImplementation,
} from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import { concealUnit } from './config/index.ts'
import { attachHandlers } from './control-attach.ts'
import { eventHandlers } from './control-events.ts'
import { jobHandlers } from './control-jobs.ts'
import { lifeHandlers } from './control-life.ts'
import { logHandlers } from './control-logs.ts'
import { meshHandlers } from './control-mesh.ts'
import { serviceHandlers } from './control-services.ts'
import { statusesOf, unitOf, unitsOf } from './control-units.ts'
import { callHandlers } from './control-calls.ts'
import { usageHandlers } from './control-usage.ts'
import { ALL_EVENTS } from './event.ts'
import type { NodeCore } from './node-core.ts'
import { toEvent, toNode, toStopped, toTimestamp, type UnitInit } from './to-proto.ts'
import { isWaitCondition, waitForUnit } from './wait-unit.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

/** The longest wait a caller may ask for without saying how long: it ends with the call's own deadline. */
const MAX_WAIT_MS = parseDurationMs('1d') as number

/** As for `replicas` in the configuration. */
const MAX_REPLICAS = 1_000

/** The events that `hsu describe` shows. */
const LATEST = { ...ALL_EVENTS, tail: 20 }

/** The control API of one node. Handlers translate and delegate; they hold no state and make no policy. */
export function controlService(core: NodeCore): ServiceImplementation {
  return implement(ControlService, {
    ...readers(core),
    ...changers(core),
    ...attachHandlers(core),
    ...eventHandlers(core),
    ...lifeHandlers(core),
    ...logHandlers(core),
    ...jobHandlers(core),
    ...meshHandlers(core),
    ...serviceHandlers(core),
    ...usageHandlers(core),
    ...callHandlers(core),
  })
}

function readers(core: NodeCore) {
  return {
    async getNode() {
      const { info } = core
      return {
        node: toNode(core.self(), core.supervisor.status().length),
        mesh: info.mesh ?? '',
        dataDir: info.dataDir,
        ingress: core.ingress.address(),
        control: info.controlSocket,
        pid: info.pid,
        startedAt: toTimestamp(info.startedAtMs),
        admin: core.admin?.address() ?? '',
        environment: core.environments.ofProgram(),
      }
    },
    async listNodes() {
      return {
        nodes: core.world.members().map((member) => toNode(member, core.world.registrationsOf(member.nodeId).length)),
      }
    },
    async listUnits(request: ListUnitsRequest, { signal }: CallContext) {
      return listUnits(core, request, signal)
    },
    async describeUnit({ unit }: { unit: string }, { signal }: CallContext) {
      const spec = core.specOf(unit)
      const events: MessageInitShape<typeof EventSchema>[] = []
      for await (const event of core.events.query({ ...LATEST, units: [unit] }, signal)) events.push(toEvent(event))
      const environment = core.environments.ofUnit(statusesOf(core, unit))
      const configJson = JSON.stringify(concealUnit(spec.config))
      return { instances: unitsOf(core, unit), configJson, events, environment }
    },
    async getConfig() {
      return core.config()
    },
    async diagnose() {
      return { checks: [...(await core.diagnose())] }
    },
  }
}

function changers(core: NodeCore) {
  const { supervisor } = core
  const done = (unit: string): { instances: UnitInit[] } => ({ instances: unitsOf(core, unit) })
  return {
    async startUnit({ unit, args }: { unit: string; args: string[] }, context: CallContext) {
      core.refuseWhenStopping()
      await supervisor.startUnit(unit, context.signal, askerOf(context), args)
      return done(unit)
    },
    async stopUnit({ unit }: { unit: string }, context: CallContext) {
      const stopped = await supervisor.stopUnit(unit, context.signal, askerOf(context))
      return { ...done(unit), stopped: stopped.map(toStopped) }
    },
    async stopAllUnits(_request: object, context: CallContext) {
      const stopped = await supervisor.stopAllUnits(context.signal, askerOf(context))
      const units = [...new Set(stopped.map(({ unit }) => unit))]
      return { instances: units.flatMap((unit) => unitsOf(core, unit)), stopped: stopped.map(toStopped) }
    },
    async restartUnit({ unit, force, allAtOnce }: RestartRequest, context: CallContext) {
      core.refuseWhenStopping()
      const mode = force ? 'force' : allAtOnce ? 'at once' : 'in turn'
      await supervisor.restartUnit(unit, context.signal, askerOf(context), mode)
      return done(unit)
    },
    async killUnit({ unit }: { unit: string }, context: CallContext) {
      await supervisor.killUnit(unit, askerOf(context))
      return done(unit)
    },
    async signalUnit({ unit, signal }: { unit: string; signal: string }, context: CallContext) {
      await supervisor.signalUnit(unit, signal, askerOf(context))
      return done(unit)
    },
    async wakeUnit({ unit, here, forCall }: WakeRequest, context: CallContext) {
      core.refuseWhenStopping()
      const terms = { here, forCall, asker: askerOf(context) }
      const { nodeId, instances } = await core.activation.wake(unit, terms, context.signal)
      return { nodeId, instances: [...instances] }
    },
    async scaleUnit({ unit, replicas }: { unit: string; replicas: number }, context: CallContext) {
      core.refuseWhenStopping()
      if (replicas > MAX_REPLICAS) {
        throw new HsuError('USAGE', `${replicas} replicas of '${unit}' are too many; at most ${MAX_REPLICAS}`)
      }
      await supervisor.scaleUnit(unit, replicas, context.signal, askerOf(context))
      return done(unit)
    },
    async waitUnit(request: WaitRequest, { signal }: CallContext) {
      const { unit, condition } = request
      core.specOf(unit)
      if (!isWaitCondition(condition)) {
        throw new HsuError('USAGE', `'${condition}' is not a condition; use ready, up, down, completed or failed`)
      }
      const timeoutMs = request.timeout === undefined ? MAX_WAIT_MS : toMs(request.timeout)
      await waitForUnit({ clock: core.clock, supervisor }, { unit, condition, timeoutMs }, signal)
      return done(unit)
    },
  }
}

interface WakeRequest {
  readonly unit: string
  readonly here: boolean
  readonly forCall: boolean
}

interface RestartRequest {
  readonly unit: string
  readonly force: boolean
  readonly allAtOnce: boolean
}

interface WaitRequest {
  readonly unit: string
  readonly condition: string
  readonly timeout?: { readonly seconds: bigint; readonly nanos: number } | undefined
}

function toMs({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): number {
  return Number(seconds) * 1_000 + nanos / 1e6
}

async function listUnits(
  core: NodeCore,
  { scope, units }: ListUnitsRequest,
  signal: AbortSignal,
): Promise<{ units: UnitInit[]; unreachable: string[] }> {
  const own = core.supervisor
    .status()
    .filter(({ unit }) => units.length === 0 || units.includes(unit))
    .map((status) => unitOf(core, status))
  if (scope !== Scope.MESH) return { units: own, unreachable: [] }

  const peers = core.peers()
  const answers = await Promise.allSettled(
    peers.map(({ nodeId }) =>
      core.control.listUnits(
        { scope: Scope.NODE, units },
        { timeoutMs: PEER_TIMEOUT_MS, signal, metadata: { 'hsu-node': nodeId } },
      ),
    ),
  )
  const theirs = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.units : []))
  const unreachable = peers.filter((_, index) => answers[index]?.status === 'rejected').map(({ name }) => name)
  return { units: [...own, ...theirs], unreachable }
}
