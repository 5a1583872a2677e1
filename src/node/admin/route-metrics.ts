import { type CallRow, type FaultRow, LATENCY_BOUNDS } from '../../rpc/index.ts'

interface Figure {
  readonly name: string
  readonly help: string
  readonly value: (row: CallRow) => number
}

// biome-ignore format: a table reads by column
const FIGURES: readonly Figure[] = [
  { name: 'in_flight',            help: 'Calls under way',                                            value: ({ inFlight }) => inFlight },
  { name: 'request_bytes_total',  help: 'Bytes of messages from callers',                             value: ({ requestBytes }) => requestBytes },
  { name: 'response_bytes_total', help: 'Bytes of messages to callers',                               value: ({ responseBytes }) => responseBytes },
  { name: 'retries_total',        help: 'Attempts after the first',                                   value: ({ retries }) => retries },
  { name: 'held_total',           help: 'Calls that waited for their unit to wake',                   value: ({ held }) => held },
  { name: 'rejected_total',       help: 'Calls beyond the limits of their unit',                      value: ({ rejected }) => rejected },
]

/**
 * The calls through this node in the text format of Prometheus, as `hsu_route_*`. The counts come from the thread of calls as they
 * are, so that they are written here: a client library wants to observe each call itself.
 */
export function routeMetrics(rows: readonly CallRow[]): string {
  if (rows.length === 0) return ''
  const lines = header('calls_total', 'counter', 'Calls that are over, by gRPC status')
  for (const row of rows) {
    for (const [code, count] of Object.entries(row.codes)) lines.push(sample('calls_total', row, count, { code }))
  }
  lines.push(...header('duration_seconds', 'histogram', 'Time from the first byte of a call to the last of its answer'))
  for (const row of rows) lines.push(...histogram(row))
  for (const { name, help, value } of FIGURES) {
    lines.push(...header(name, name.endsWith('_total') ? 'counter' : 'gauge', help))
    for (const row of rows) lines.push(sample(name, row, value(row)))
  }
  return `${lines.join('\n')}\n`
}

/** What callers did wrong, as `hsu_route_faults_total`: connections that were ended and calls that were refused for it. */
export function faultMetrics(rows: readonly FaultRow[]): string {
  if (rows.length === 0) return ''
  const help = 'Connections ended and calls refused for faults of their callers'
  const samples = rows.map(
    ({ door, ends, reason, count }) =>
      `hsu_route_faults_total{door="${door}",ends="${ends}",reason="${reason}"} ${count}`,
  )
  return `${[...header('faults_total', 'counter', help), ...samples].join('\n')}\n`
}

function histogram(row: CallRow): string[] {
  let below = 0
  const buckets = row.latency.map((count, at) => {
    below += count
    const bound = LATENCY_BOUNDS[at]
    return sample('duration_seconds_bucket', row, below, { le: bound === undefined ? '+Inf' : String(bound) })
  })
  return [...buckets, sample('duration_seconds_sum', row, row.seconds), sample('duration_seconds_count', row, below)]
}

function header(name: string, type: string, help: string): string[] {
  return [`# HELP hsu_route_${name} ${help}`, `# TYPE hsu_route_${name} ${type}`]
}

function sample(name: string, { service, method, unit, door }: CallRow, value: number, more: object = {}): string {
  const labels = Object.entries({ service, method, unit, door, ...more })
  const text = labels.map(([key, label]) => `${key}="${escaped(label)}"`).join(',')
  return `hsu_route_${name}{${text}} ${value}`
}

/** Names of services and methods come from callers. */
function escaped(label: string): string {
  return label.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}
