import { toRfc3339 } from '../base/system-date.ts'
import type { CallOptions, ControlService, Scope, ServiceClient, UnitKind } from '../rpc/index.ts'

/** The control API of a node, as `hsu.control.v1` describes it. */
export type ControlClient = ServiceClient<typeof ControlService>

type Answer<Method extends keyof ControlClient> = Awaited<ReturnType<ControlClient[Method]>>
type Item<Stream> = Stream extends AsyncIterable<infer T> ? T : never

export type Unit = Answer<'listUnits'>['units'][number]
export type StoppedInstance = Answer<'stopUnit'>['stopped'][number]
export type Process = Answer<'findProcess'>['processes'][number]
export type Node = Answer<'listNodes'>['nodes'][number]
export type NodeInfo = Answer<'getNode'>
export type RunNews = Item<ReturnType<ControlClient['runUnit']>>['what']
export type Run = Answer<'listRuns'>['runs'][number]
export type ServiceEntry = Answer<'listServices'>['services'][number]
export type UsageMessage = NonNullable<Unit['usage']>
export type NodeUsage = Answer<'getUsage'>['nodes'][number]
export type CallCounts = Answer<'getCalls'>['calls'][number]
export type CallRecord = NonNullable<Item<ReturnType<ControlClient['streamCalls']>>['call']>
export type UsageSeries = Item<ReturnType<ControlClient['streamUsage']>>
export type UsageSample = UsageSeries['samples'][number]
export type Check = Answer<'diagnose'>['checks'][number]
export type UnitDescription = Answer<'describeUnit'>
export type Why = Answer<'whyUnit'>['instances'][number]
export type Event = NonNullable<Item<ReturnType<ControlClient['streamEvents']>>['event']>
export type LogLine = NonNullable<Item<ReturnType<ControlClient['streamLogs']>>['line']>

// The values of control.proto's enumerations, so that a command need not load gRPC to name one.
// The compiler accepts only the right number for each of these types; the lint rule cannot see that.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
export const SCOPE_NODE: Scope.NODE = 1
export const SCOPE_MESH: Scope.MESH = 2
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */

const KIND_NAMES: Readonly<Record<UnitKind, string>> = { 0: 'managed', 1: 'unmanaged', 2: 'managed', 3: 'integrated' }

/** `managed`, `unmanaged` or `integrated`. */
export function kindName(kind: UnitKind): string {
  return KIND_NAMES[kind]
}

/** How long a question may take: all of them are answered from memory. */
const READ_TIMEOUT_MS = 10_000
/** How long an action on a unit may take; a stop with drain and grace of minutes must fit in. */
export const ACTION_TIMEOUT_MS = 600_000

/** Metadata that says who asks; the node reads it as percent-encoded text. */
const ACTOR_KEY = 'hsu-actor'

/** What the options of every call depend on; part of a `CommandContext`. */
export interface CallScope {
  readonly global: { readonly node: string | undefined; readonly timeoutMs: number | undefined }
  readonly signal: AbortSignal
}

export interface CallAim {
  /** The node that shall answer; undefined = the one on this host. */
  readonly node: string | undefined
  /** Used unless `--timeout` was given; undefined = no limit, for streams. */
  readonly timeoutMs: number | undefined
}

/** The options of one call: to which node it goes, and until when it must be answered. */
export function callOptions({ global, signal }: CallScope, aim: Partial<CallAim> = {}): CallOptions {
  const node = aim.node ?? global.node
  const timeoutMs = global.timeoutMs ?? aim.timeoutMs
  return {
    signal,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(node === undefined ? {} : { metadata: { 'hsu-node': node } }),
  }
}

/** The options of a call that changes something: the account of what happened names who asked. */
export function actionOptions(
  context: CallScope & { readonly actor: string },
  aim: Partial<CallAim> = {},
): CallOptions {
  const { metadata, ...rest } = callOptions(context, aim)
  return { ...rest, metadata: { ...metadata, [ACTOR_KEY]: encodeURIComponent(context.actor) } }
}

/** The options of a call that only asks. */
export function readOptions(context: CallScope, node?: string): CallOptions {
  return callOptions(context, { node, timeoutMs: READ_TIMEOUT_MS })
}

/** The options of a question to the node on this host, whatever `--node` says. */
export function localOptions({ global, signal }: CallScope): CallOptions {
  return { signal, timeoutMs: global.timeoutMs ?? READ_TIMEOUT_MS }
}

interface Timestamp {
  readonly seconds: bigint
  readonly nanos: number
}

/** Milliseconds since the epoch; undefined when the field is not set. */
function fromTimestamp(timestamp: Timestamp | undefined): number | undefined {
  return timestamp === undefined ? undefined : Number(timestamp.seconds) * 1_000 + Math.floor(timestamp.nanos / 1e6)
}

export function toTimestamp(wallMs: number): Timestamp {
  const seconds = Math.floor(wallMs / 1_000)
  return { seconds: BigInt(seconds), nanos: Math.round((wallMs - seconds * 1_000) * 1e6) }
}

/** google.protobuf.Duration of whole milliseconds. */
export function toDuration(ms: number): Timestamp {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: Math.round((ms % 1_000) * 1e6) }
}

/** RFC 3339 in UTC; null, as JSON says it, when the field is not set. */
export function rfc3339(timestamp: Timestamp | undefined): string | null {
  const wallMs = fromTimestamp(timestamp)
  return wallMs === undefined ? null : toRfc3339(wallMs)
}
