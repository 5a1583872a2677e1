import { formatSizeBytes } from '../base/quantity.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import type { CallRecordShape, CallsShape } from './call-shapes.ts'
import { dateTime } from './moment.ts'
import type { Style } from './style.ts'
import { type Column, table } from './table.ts'

/** The calls of `hsu services -o wide`. */
export function callTable(calls: readonly CallsShape[], style: Style): string {
  const number = (title: string, cell: (row: CallsShape) => string): Column<CallsShape> => {
    return { title, align: 'right', cell }
  }
  const columns: Column<CallsShape>[] = [
    { title: 'SERVICE', cell: ({ service }) => service || '(not found)' },
    { title: 'UNIT', cell: ({ unit }) => unit || '-' },
    number('CALLS', ({ calls }) => String(calls)),
    number('FAILED', ({ failed }) => String(failed)),
    number('IN FLIGHT', ({ inFlight }) => String(inFlight)),
    number('P50', ({ p50Seconds }) => time(p50Seconds)),
    number('P99', ({ p99Seconds }) => time(p99Seconds)),
    number('IN', ({ requestBytes }) => formatSizeBytes(requestBytes)),
    number('OUT', ({ responseBytes }) => formatSizeBytes(responseBytes)),
    number('RETRIES', ({ retries }) => String(retries)),
    number('HELD', ({ held }) => String(held)),
    number('REJECTED', ({ rejected }) => String(rejected)),
  ]
  return calls.length === 0 ? 'no calls yet' : table(calls, columns, style)
}

/** A call of `hsu calls -f`, on a line. */
export function callLine(call: CallRecordShape, style: Style): string {
  const { time, code, reason, seconds, service, method, instance, servedBy, peer, attempts, held } = call
  const wallMs = time === null ? undefined : parseRfc3339Ms(time)
  const why = reason === '' ? code : `${code} (${reason})`
  const notes = [attempts > 1 ? `${attempts} attempts` : '', held ? 'held' : ''].filter((note) => note !== '')
  return [
    style.faint(wallMs === undefined ? '-' : dateTime(wallMs)),
    code === 'OK' ? style.good(why) : style.bad(why),
    `${(seconds * 1_000).toFixed(seconds < 0.01 ? 2 : 0)}ms`,
    `${service}/${method}`,
    instance === '' ? 'no instance' : `${instance}@${servedBy}`,
    `from ${peer || 'a unix socket'}`,
    ...notes,
  ].join('  ')
}

/** The busiest services of `hsu top`, a line each. `before`: the calls at the last look, so long ago. */
export function callLines(
  calls: readonly CallsShape[],
  before: readonly CallsShape[] | undefined,
  elapsedMs: number,
  maxLines: number,
): readonly string[] {
  const known = new Map(before?.map((each) => [keyOf(each), each]))
  const rows = calls.map((each) => {
    const last = known.get(keyOf(each))
    const rate = (figure: 'calls' | 'failed'): number | undefined =>
      before === undefined || elapsedMs <= 0 ? undefined : ((each[figure] - (last?.[figure] ?? 0)) * 1_000) / elapsedMs
    return { ...each, rate: rate('calls'), failures: rate('failed') }
  })
  const busiest = rows
    .filter(({ service, rate, inFlight }) => service !== '' && (rate === undefined || rate > 0 || inFlight > 0))
    .sort((one, other) => (other.rate ?? other.calls) - (one.rate ?? one.calls))
  return busiest.slice(0, maxLines).map(({ service, unit, calls, failed, rate, failures, inFlight, p99Seconds }) => {
    const flow = rate === undefined ? `${calls} calls` : `${rate.toFixed(1)}/s`
    const faults = failures === undefined ? `${failed} failed` : `${failures.toFixed(1)} failed/s`
    return `  calls ${service} (${unit}): ${flow}, ${faults}, ${inFlight} in flight, p99 ${time(p99Seconds)}`
  })
}

function keyOf({ service, unit }: CallsShape): string {
  return `${service}\n${unit}`
}

/** As coarse as it is known. */
function time(seconds: number | null): string {
  if (seconds === null) return '-'
  return seconds < 1 ? `<=${seconds * 1_000}ms` : `<=${seconds}s`
}
