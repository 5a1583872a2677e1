import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../base/error.ts'
import { parseDurationMs } from '../base/quantity.ts'
import type { InstanceStatus } from '../process/index.ts'
import {
  type CallContext,
  type CallOptions,
  ControlService,
  type EventSchema,
  implement,
  type ListUnitsRequest,
  Scope,
  type ServiceImplementation,
  type StreamEventsRequest,
  type StreamEventsResponseSchema,
  type StreamLogsRequest,
  type StreamLogsResponseSchema,
  type UnitSchema,
} from '../rpc/index.ts'
import type { EventQuery } from './event-log.ts'
import { lastOf, mergeOrdered, mergeStreams, type OpenStream, orderedStart } from './merge-streams.ts'
import type { NodeCore } from './node-core.ts'
import { fromTimestamp, type Timestamp, toEvent, toLogLine, toNode, toTimestamp, toUnit } from './to-proto.ts'
import { isWaitCondition, waitForUnit } from './wait-unit.ts'

/** How long another node may take to answer before its part of a mesh-wide answer is left out. */
const PEER_TIMEOUT_MS = 2_000

/** The longest wait a caller may ask for without saying how long: it ends with the call's own deadline. */
const MAX_WAIT_MS = parseDurationMs('1d') as number

/** As for `replicas` in the configuration. */
const MAX_REPLICAS = 1_000

/** Longest regular expression accepted for `grep`. */
const MAX_PATTERN_CHARS = 1_000

/** How long the past lines of several nodes are gathered before they are put in order and shown. */
const PAST_WINDOW_MS = 250

type UnitInit = MessageInitShape<typeof UnitSchema>

/** The control API of one node. Handlers translate and delegate; they hold no state and make no policy. */
export function controlService(core: NodeCore): ServiceImplementation {
  return implement(ControlService, {
    ...readers(core),
    ...changers(core),
    streamLogs: (request, { signal }) => streamLogs(core, request, signal),
    streamEvents: (request, { signal }) => streamEvents(core, request, signal),
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
      for await (const event of core.events.query(eventQuery([unit], 20), signal)) events.push(toEvent(event))
      return { instances: unitsOf(core, unit), configJson: JSON.stringify(spec.config), events }
    },
    async listServices() {
      return { services: core.services() }
    },
    async getConfig() {
      return { configJson: core.config.configJson, origins: core.config.origins }
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
    async startUnit({ unit }: { unit: string }, { signal }: CallContext) {
      core.refuseWhenStopping()
      await supervisor.startUnit(unit, signal)
      return done(unit)
    },
    async stopUnit({ unit }: { unit: string }, { signal }: CallContext) {
      await supervisor.stopUnit(unit, signal)
      return done(unit)
    },
    async restartUnit({ unit }: { unit: string }, { signal }: CallContext) {
      core.refuseWhenStopping()
      await supervisor.restartUnit(unit, signal)
      return done(unit)
    },
    async killUnit({ unit }: { unit: string }) {
      await supervisor.killUnit(unit)
      return done(unit)
    },
    async signalUnit({ unit, signal }: { unit: string; signal: string }) {
      await supervisor.signalUnit(unit, signal)
      return done(unit)
    },
    async scaleUnit({ unit, replicas }: { unit: string; replicas: number }, { signal }: CallContext) {
      core.refuseWhenStopping()
      if (replicas > MAX_REPLICAS) {
        throw new HsuError('USAGE', `${replicas} replicas of '${unit}' are too many; at most ${MAX_REPLICAS}`)
      }
      await supervisor.scaleUnit(unit, replicas, signal)
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
    async shutdown() {
      core.requestShutdown()
      return {}
    },
  }
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

function unitsOf(core: NodeCore, unit: string): UnitInit[] {
  return core.supervisor
    .status()
    .filter((status) => status.unit === unit)
    .map((status) => unitOf(core, status))
}

function unitOf(core: NodeCore, status: InstanceStatus): UnitInit {
  return toUnit(status, core.info.name, core.offers.servicesOf(status.instance))
}

type LogItem = MessageInitShape<typeof StreamLogsResponseSchema>
type EventItem = MessageInitShape<typeof StreamEventsResponseSchema>

function streamLogs(core: NodeCore, request: StreamLogsRequest, signal: AbortSignal): AsyncIterable<LogItem> {
  const { units, follow, tail, since, stream, grep } = request
  const query = { units, follow, tail, sinceMs: fromTimestamp(since), stream: streamName(stream), grep: pattern(grep) }
  return fanOut<LogItem>(core, request, signal, {
    own: async function* (signal) {
      for await (const line of core.supervisor.logs(query, signal)) yield { line: toLogLine(line, core.info.name) }
    },
    ofPeer: (options) => core.control.streamLogs({ ...request, scope: Scope.NODE }, options),
    keyOf: ({ line }) => fromTimestamp(line?.time as Timestamp | undefined) ?? 0,
  })
}

function streamEvents(core: NodeCore, request: StreamEventsRequest, signal: AbortSignal): AsyncIterable<EventItem> {
  const { units, follow, tail, since } = request
  const query = { units, follow, tail, sinceMs: fromTimestamp(since) }
  return fanOut<EventItem>(core, request, signal, {
    own: async function* (signal) {
      for await (const event of core.events.query(query, signal)) yield { event: toEvent(event) }
    },
    ofPeer: (options) => core.control.streamEvents({ ...request, scope: Scope.NODE }, options),
    keyOf: ({ event }) => fromTimestamp(event?.time as Timestamp | undefined) ?? 0,
  })
}

interface FanOut<T> {
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
async function* fanOut<T>(
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

function eventQuery(units: readonly string[], tail: number): EventQuery {
  return { units, follow: false, tail, sinceMs: undefined }
}

function streamName(name: string): 'stdout' | 'stderr' | undefined {
  if (name === '') return undefined
  if (name === 'stdout' || name === 'stderr') return name
  throw new HsuError('USAGE', `'${name}' is not a stream; use stdout or stderr`)
}

function pattern(source: string): RegExp | undefined {
  if (source === '') return undefined
  if (source.length > MAX_PATTERN_CHARS) {
    throw new HsuError('USAGE', `the pattern is longer than ${MAX_PATTERN_CHARS} characters`)
  }
  try {
    return new RegExp(source, 'u')
  } catch (error) {
    throw new HsuError('USAGE', `'${source}' is not a regular expression: ${messageOf(error)}`)
  }
}
