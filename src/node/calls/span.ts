import type { Random } from '../../base/random.ts'
import { type EndedCall, traceOf } from '../../rpc/index.ts'
import { callLine, type LineContext } from './call-line.ts'

/** What a span of a call takes besides the call. */
export interface SpanContext extends LineContext {
  readonly nodeId: string
  readonly version: string
}

type AnyValue = { readonly stringValue: string } | { readonly intValue: string } | { readonly boolValue: boolean }

interface KeyValue {
  readonly key: string
  readonly value: AnyValue
}

/** `Span.SpanKind`: a step of its own, neither the call that the caller sees nor the one that the unit does. */
const INTERNAL = 1

/** `Status.StatusCode` */
const ERROR = 2

/** Statuses that are the fault of whoever serves (OpenTelemetry, semantic conventions for gRPC). */
const FAULTS = new Set([2, 4, 12, 13, 14, 15])

/** A span of OTLP with JSON, in which ids are hexadecimal, enumerations numbers and 64-bit numbers text; undefined without a trace. */
export function spanOf(call: EndedCall, context: SpanContext, random: Random): object | undefined {
  const trace = traceOf(call.traceparent)
  if (trace === undefined) return undefined
  const { service, method, unit, instance, servedBy, peer, reason } = callLine(call, context)
  const told = { 'hsu.unit': unit, 'hsu.instance': instance, 'hsu.served_by': servedBy, 'hsu.reason': reason }
  return {
    traceId: trace.traceId,
    spanId: spanId(random),
    parentSpanId: trace.parentId,
    name: `${service}/${method}`,
    kind: INTERNAL,
    startTimeUnixNano: nanos(call.endedAtMs - call.tookMs),
    endTimeUnixNano: nanos(call.endedAtMs),
    attributes: [
      text('rpc.system', 'grpc'),
      text('rpc.service', service),
      text('rpc.method', method),
      integer('rpc.grpc.status_code', call.status),
      text('hsu.door', call.door),
      ...Object.entries({ ...told, 'client.address': peer }).flatMap(([key, value]) =>
        value === '' ? [] : [text(key, value)],
      ),
      integer('hsu.attempts', call.attempts),
      { key: 'hsu.held', value: { boolValue: call.held } },
    ],
    ...(FAULTS.has(call.status) ? { status: { code: ERROR, ...(reason !== '' && { message: reason }) } } : {}),
  }
}

/** The body of `POST /v1/traces`. */
export function tracesBody(spans: readonly object[], { node, nodeId, version }: SpanContext): string {
  const attributes = [text('service.name', 'hsu'), text('service.instance.id', nodeId), text('host.name', node)]
  return JSON.stringify({
    resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope: { name: 'hsu', version }, spans }] }],
  })
}

/** Eight bytes that are not all zero. */
function spanId(random: Random): string {
  const half = (): string =>
    Math.floor(random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  const id = `${half()}${half()}`
  return /^0+$/.test(id) ? '0000000000000001' : id
}

function nanos(ms: number): string {
  return `${Math.round(ms * 1_000)}000`
}

function text(key: string, value: string): KeyValue {
  return { key, value: { stringValue: value } }
}

function integer(key: string, value: number): KeyValue {
  return { key, value: { intValue: String(value) } }
}
