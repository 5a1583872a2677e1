import type { MessageInitShape } from '@bufbuild/protobuf'
import type { MemberView } from '../mesh/index.ts'
import type { Exit, InstanceStatus, LogLine, StoppedInstance, Usage } from '../process/index.ts'
import {
  type EventSchema,
  type ExitSchema,
  type JobSchema,
  type LogLineSchema,
  type NodeSchema,
  type StoppedInstanceSchema,
  UnitKind,
  type UnitSchema,
  type UsageSchema,
} from '../rpc/index.ts'
import type { NodeEvent } from './event.ts'

const KINDS = {
  unmanaged: UnitKind.UNMANAGED,
  managed: UnitKind.MANAGED,
  integrated: UnitKind.INTEGRATED,
} as const

/** One instance slot as the control API shows it. */
export type UnitInit = MessageInitShape<typeof UnitSchema>

/** The part of google.protobuf.Timestamp that matters. */
export interface Timestamp {
  readonly seconds: bigint
  readonly nanos: number
}

/** Wall-clock milliseconds as google.protobuf.Timestamp. */
export function toTimestamp(wallMs: number): Timestamp {
  const seconds = Math.floor(wallMs / 1_000)
  return { seconds: BigInt(seconds), nanos: Math.round((wallMs - seconds * 1_000) * 1e6) }
}

/** Milliseconds as google.protobuf.Duration, which has the same fields. */
/** Milliseconds of a google.protobuf.Duration. */
export function fromDuration({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * 1_000 + nanos / 1e6
}

function toDuration(ms: number): Timestamp {
  return toTimestamp(ms)
}

/** google.protobuf.Timestamp as wall-clock milliseconds. */
export function fromTimestamp(timestamp: Timestamp | undefined): number | undefined {
  return timestamp === undefined ? undefined : Number(timestamp.seconds) * 1_000 + timestamp.nanos / 1e6
}

export function toUnit(status: InstanceStatus, node: string, services: readonly string[]): UnitInit {
  const { startedAtMs, exit, pid, ports, limits, rssBytes, kind, retryAtMs, usage, job, health } = status
  const { unit, instance, replica, state, ready, restarts, cpu, reason, want } = status
  return {
    ...{ unit, instance, replica, node, state, ready, restarts, cpu, reason, want },
    kind: KINDS[kind],
    pid: pid ?? 0,
    rssBytes: BigInt(rssBytes),
    services: [...services],
    ports: { ...ports },
    limits: limits.map(({ used, ...limit }) => (used === undefined ? limit : { ...limit, used })),
    ...(startedAtMs === undefined ? {} : { startedAt: toTimestamp(startedAtMs) }),
    ...(exit === undefined ? {} : { exit: toExit(exit) }),
    ...(retryAtMs === undefined ? {} : { retryAt: toTimestamp(retryAtMs) }),
    ...(health === undefined ? {} : { health: { state: health.state, checks: [...health.checks] } }),
    origin: status.origin ?? '',
    ...(usage === undefined ? {} : { usage: toUsage(usage) }),
    ...(job === undefined ? {} : { job: toJob(job) }),
  }
}

export function toUsage({
  cpuMs,
  rssBytes,
  pssBytes,
  virtualBytes,
  ioReadBytes,
  ioWriteBytes,
  ...same
}: Usage): MessageInitShape<typeof UsageSchema> {
  return {
    ...same,
    cpuSeconds: cpuMs / 1_000,
    rssBytes: BigInt(rssBytes),
    ...(pssBytes === undefined ? {} : { pssBytes: BigInt(pssBytes) }),
    ...(virtualBytes === undefined ? {} : { virtualBytes: BigInt(virtualBytes) }),
    ...(ioReadBytes === undefined ? {} : { ioReadBytes: BigInt(ioReadBytes) }),
    ...(ioWriteBytes === undefined ? {} : { ioWriteBytes: BigInt(ioWriteBytes) }),
  }
}

function toJob({ run, schedule, nextRunMs }: NonNullable<InstanceStatus['job']>): MessageInitShape<typeof JobSchema> {
  return { run, schedule, ...(nextRunMs === undefined ? {} : { nextRunAt: toTimestamp(nextRunMs) }) }
}

export function toExit(exit: Exit): MessageInitShape<typeof ExitSchema> {
  return 'code' in exit ? { how: { case: 'code', value: exit.code } } : { how: { case: 'signal', value: exit.signal } }
}

export function toStopped({ exit, tookMs, ...same }: StoppedInstance): MessageInitShape<typeof StoppedInstanceSchema> {
  return { ...same, took: toDuration(tookMs), ...(exit === undefined ? {} : { exit: toExit(exit) }) }
}

export function toNode(member: MemberView, units: number): MessageInitShape<typeof NodeSchema> {
  const { nodeId, status, incarnation, record, self, removal } = member
  return {
    node: record?.name ?? (removal?.name || nodeId),
    id: nodeId,
    // A node that was removed itself goes on here as before; only the others talk to it no more.
    status: removal === undefined ? status : 'removed',
    incarnation: BigInt(incarnation),
    addresses: [...(record?.meshAddresses ?? [])],
    labels: { ...record?.labels },
    version: record?.version ?? '',
    units,
    self,
  }
}

export function toEvent({ wallMs, details, ...same }: NodeEvent): MessageInitShape<typeof EventSchema> {
  return { ...same, details: { ...details }, time: toTimestamp(wallMs) }
}

export function toLogLine(
  { wallMs, seq, pid, level, message, ...same }: LogLine,
  node: string,
): MessageInitShape<typeof LogLineSchema> {
  return {
    ...same,
    time: toTimestamp(wallMs),
    node,
    seq: BigInt(seq),
    pid: pid ?? 0,
    level: level ?? '',
    ...(message === undefined ? {} : { message }),
  }
}
