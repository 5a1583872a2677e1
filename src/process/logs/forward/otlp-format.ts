import { isUtf8 } from 'node:buffer'
import type { Level } from '../parse.ts'
import type { LogLine } from '../query.ts'

/** The least number of each range of the OpenTelemetry log data model. */
const SEVERITIES: Readonly<Record<Level, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 }

type AnyValue = { readonly stringValue: string } | { readonly bytesValue: string } | { readonly intValue: string }

interface KeyValue {
  readonly key: string
  readonly value: AnyValue
}

const named = (key: string, value: string): KeyValue => ({ key, value: { stringValue: value } })
const counted = (key: string, value: number): KeyValue => ({ key, value: { intValue: String(value) } })

/** The body of `POST /v1/logs`: the lines by instance, each instance a resource. */
export function otlpBody(lines: readonly LogLine[], { node, version }: { node: string; version: string }): string {
  const byInstance = new Map<string, LogLine[]>()
  for (const line of lines) {
    const own = byInstance.get(line.instance)
    if (own === undefined) byInstance.set(line.instance, [line])
    else own.push(line)
  }
  const scope = { name: 'hsu', version }
  return JSON.stringify({
    resourceLogs: [...byInstance.values()].map((own) => ({
      resource: { attributes: own.slice(0, 1).flatMap((line) => resourceOf(line, node)) },
      scopeLogs: [{ scope, logRecords: own.map(recordOf) }],
    })),
  })
}

/** Named as HSU names a unit to itself in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES. */
function resourceOf({ unit, instance, pid }: LogLine, node: string): readonly KeyValue[] {
  const program = pid === undefined ? [] : [counted('process.pid', pid)]
  return [named('service.name', unit), named('service.instance.id', instance), named('host.name', node), ...program]
}

function recordOf({ wallMs, level, line, stream, seq }: LogLine): object {
  const unixNano = `${wallMs}000000`
  const severity = level === undefined ? {} : { severityNumber: SEVERITIES[level], severityText: level.toUpperCase() }
  return {
    timeUnixNano: unixNano,
    observedTimeUnixNano: unixNano,
    ...severity,
    body: bodyOf(Buffer.from(line.buffer, line.byteOffset, line.length)),
    attributes: [named('log.iostream', stream), counted('hsu.seq', seq)],
  }
}

function bodyOf(line: Buffer): AnyValue {
  return isUtf8(line) ? { stringValue: line.toString('utf8') } : { bytesValue: line.toString('base64') }
}
