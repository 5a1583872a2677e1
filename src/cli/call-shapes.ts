import type { CallLine } from '../node/index.ts'
import { type CallCounts, type CallRecord, rfc3339 } from './control.ts'

// The shape of calls that `-o json` prints. Public API: add keys freely, never rename or remove one.

/** What went to one service, through all nodes that were asked. */
export interface CallsShape {
  readonly service: string
  readonly unit: string
  /** Ended. */
  readonly calls: number
  /** Those of them that did not end with OK. */
  readonly failed: number
  readonly inFlight: number
  /** Half of the calls took no longer, in seconds; as coarse as the classes of the histogram. Null without calls. */
  readonly p50Seconds: number | null
  readonly p99Seconds: number | null
  readonly requestBytes: number
  readonly responseBytes: number
  readonly retries: number
  readonly held: number
  readonly rejected: number
}

/** Upper bounds of the classes of latency, in seconds; those of `hsu_route_duration_seconds`. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** The keys of `CallsShape`, for docs/cli.md. */
export const CALL_KEYS =
  'service, unit, calls, failed, inFlight, p50Seconds, p99Seconds, requestBytes, responseBytes, retries, held, rejected'

/** A line of `hsu calls -f -o json`: that of the access log. */
export type CallRecordShape = Omit<CallLine, 'time'> & { readonly time: string | null }

/** The keys of `CallRecordShape`, for docs/cli.md. */
export const CALL_RECORD_KEYS =
  'time, node, door, peer, service, method, unit, instance, servedBy, code, reason, seconds, requestBytes, responseBytes, attempts, held, traceId'

export function callRecordShape(call: CallRecord): CallRecordShape {
  const { node, door, peer, service, method, unit, instance, servedBy, code, reason, seconds, attempts, held } = call
  return {
    time: rfc3339(call.time),
    ...{ node, door, peer, service, method, unit, instance, servedBy, code, reason, seconds },
    requestBytes: Number(call.requestBytes),
    responseBytes: Number(call.responseBytes),
    ...{ attempts, held, traceId: call.traceId },
  }
}

/** Calls by service and unit, the busiest first. Each is counted where it came in: once, however many nodes it went through. */
export function callShapes(counts: readonly CallCounts[]): readonly CallsShape[] {
  const groups = new Map<string, CallCounts[]>()
  for (const each of counts) {
    if (each.door !== 'ingress') continue
    const key = `${each.service}\n${each.unit}`
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  return [...groups.values()].map(shapeOf).sort((one, other) => other.calls - one.calls)
}

function shapeOf(group: readonly CallCounts[]): CallsShape {
  const sum = (figure: (each: CallCounts) => bigint | number): number =>
    group.reduce((total, each) => total + Number(figure(each)), 0)
  const calls = sum(({ codes }) => Object.values(codes).reduce((total, count) => total + count, 0n))
  const latency = BOUNDS.map((_, at) => sum((each) => each.latency[at] ?? 0n))
  const { service = '', unit = '' } = group[0] ?? {}
  return {
    service,
    unit,
    calls,
    failed: calls - sum(({ codes }) => codes['OK'] ?? 0n),
    inFlight: sum(({ inFlight }) => inFlight),
    p50Seconds: quantile(latency, calls, 0.5),
    p99Seconds: quantile(latency, calls, 0.99),
    requestBytes: sum(({ requestBytes }) => requestBytes),
    responseBytes: sum(({ responseBytes }) => responseBytes),
    retries: sum(({ retries }) => retries),
    held: sum(({ held }) => held),
    rejected: sum(({ rejected }) => rejected),
  }
}

/** The upper bound of the class in which the quantile is; Infinity beyond the last one is told as that one. */
function quantile(latency: readonly number[], calls: number, share: number): number | null {
  if (calls === 0) return null
  let below = 0
  for (const [at, count] of latency.entries()) {
    below += count
    if (below >= share * calls) return BOUNDS[at] ?? null
  }
  return BOUNDS.at(-1) ?? null
}
