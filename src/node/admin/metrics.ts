import type { LoopDelay } from '../../base/system-loop-delay.ts'
import type { CallRow, FaultRow } from '../../rpc/index.ts'
import { faultMetrics, routeMetrics } from './route-metrics.ts'
import type { InstanceStatus, Usage } from '../../process/index.ts'

/** What the metrics are made of, at one moment. */
export interface Observed {
  readonly instances: readonly InstanceStatus[]
  /** Of the node itself. */
  readonly usage: Usage | undefined
  readonly loopDelay: LoopDelay
  /** The calls through this node. */
  readonly calls: readonly CallRow[]
  /** What callers did wrong. */
  readonly faults: readonly FaultRow[]
  readonly node: {
    readonly name: string
    readonly version: string
    readonly mesh: string
    readonly startedAtMs: number
  }
}

/** The metrics in the text format of Prometheus. */
export interface MetricsPage {
  readonly contentType: string
  readonly render: (observed: Observed) => Promise<string>
}

/** One metric. Names follow https://prometheus.io/docs/practices/naming: base units, and `_total` for what only grows. */
interface Metric<T> {
  readonly name: string
  readonly help: string
  /** Undefined = not known: then there is no sample, never a 0. */
  readonly value: (subject: T) => number | undefined
}

// biome-ignore format: a table reads by column
const OF_INSTANCES: readonly Metric<InstanceStatus>[] = [
  { name: 'cpu_seconds_total',         help: 'Processor time used by the process tree of the instance',        value: ({ usage }) => seconds(usage?.cpuMs) },
  { name: 'resident_memory_bytes',     help: 'Resident memory of the process tree, shared pages in each process', value: ({ usage }) => usage?.rssBytes },
  { name: 'proportional_memory_bytes', help: 'Resident memory of the process tree, shared pages divided',      value: ({ usage }) => usage?.pssBytes },
  { name: 'virtual_memory_bytes',      help: 'Address space of the process tree',                              value: ({ usage }) => usage?.virtualBytes },
  { name: 'processes',                 help: 'Processes alive in the process tree',                            value: ({ usage }) => usage?.processes },
  { name: 'threads',                   help: 'Threads of the process tree',                                    value: ({ usage }) => usage?.threads },
  { name: 'open_fds',                  help: 'Open file descriptors of the process tree',                      value: ({ usage }) => usage?.files },
  { name: 'io_read_bytes_total',       help: 'Bytes the process tree read from storage',                       value: ({ usage }) => usage?.ioReadBytes },
  { name: 'io_written_bytes_total',    help: 'Bytes the process tree sent to storage',                         value: ({ usage }) => usage?.ioWriteBytes },
  { name: 'start_time_seconds',        help: 'Start of the instance since the Unix epoch',                     value: ({ startedAtMs }) => seconds(startedAtMs) },
  { name: 'restarts_total',            help: 'Restarts of the instance slot',                                  value: ({ restarts }) => restarts },
  { name: 'ready',                     help: '1 when the instance is ready, else 0',                           value: ({ ready }) => (ready ? 1 : 0) },
]

// biome-ignore format: a table reads by column
const OF_NODE: readonly Metric<Observed>[] = [
  { name: 'cpu_seconds_total',                help: 'Processor time used by the node itself',                     value: ({ usage }) => seconds(usage?.cpuMs) },
  { name: 'resident_memory_bytes',            help: 'Resident memory of the node itself',                         value: ({ usage }) => usage?.rssBytes },
  { name: 'proportional_memory_bytes',        help: 'Resident memory of the node itself, shared pages divided',   value: ({ usage }) => usage?.pssBytes },
  { name: 'open_fds',                         help: 'Open file descriptors of the node itself',                   value: ({ usage }) => usage?.files },
  { name: 'start_time_seconds',               help: 'Start of the node since the Unix epoch',                     value: ({ node }) => seconds(node.startedAtMs) },
  { name: 'event_loop_delay_mean_seconds',    help: 'Mean delay of the event loop since the last scrape',         value: ({ loopDelay }) => seconds(loopDelay.meanMs) },
  { name: 'event_loop_delay_p99_seconds',     help: '99th percentile of the delay of the event loop since the last scrape', value: ({ loopDelay }) => seconds(loopDelay.p99Ms) },
  { name: 'event_loop_delay_max_seconds',     help: 'Largest delay of the event loop since the last scrape',      value: ({ loopDelay }) => seconds(loopDelay.maxMs) },
]

/** Loads prom-client, which a node that nobody scrapes does without. */
export async function createMetricsPage(): Promise<MetricsPage> {
  // A CommonJS module: bundled, it has a default export and no other.
  const { Counter, Gauge, Registry } = (await import('prom-client')).default
  return {
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
    async render(observed) {
      // A registry of its own for each answer: what is gone leaves nothing behind.
      const registry = new Registry()
      const add = (name: string, help: string, samples: readonly Sample[]): void => {
        const labelNames = Object.keys(samples[0]?.labels ?? {})
        const options = { name, help, labelNames, registers: [registry] }
        const metric = name.endsWith('_total') ? new Counter(options) : new Gauge(options)
        // One without labels begins with a sample, of 0.
        if (labelNames.length === 0) metric.remove()
        for (const { labels, value } of samples) metric.inc(labels, value)
      }
      for (const { name, help, samples } of metricsOf(observed)) add(name, help, samples)
      return `${await registry.metrics()}${routeMetrics(observed.calls)}${faultMetrics(observed.faults)}`
    },
  }
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

function metricsOf(
  observed: Observed,
): readonly { readonly name: string; readonly help: string; readonly samples: readonly Sample[] }[] {
  const { instances, node } = observed
  const states = Object.entries(countByState(instances)).map(([state, value]) => ({ labels: { state }, value }))
  const about = { node: node.name, version: node.version, mesh: node.mesh }
  return [
    ...OF_INSTANCES.map(({ name, help, value }) => {
      const samples = instances.flatMap((status) =>
        sampleOf({ unit: status.unit, replica: String(status.replica) }, value(status)),
      )
      return { name: `hsu_process_${name}`, help, samples }
    }),
    ...OF_NODE.map(({ name, help, value }) => {
      return { name: `hsu_node_${name}`, help, samples: sampleOf({}, value(observed)) }
    }),
    { name: 'hsu_node_units', help: 'Instances on the node by state', samples: states },
    { name: 'hsu_node_info', help: 'Always 1; its labels tell about the node', samples: sampleOf(about, 1) },
  ]
}

function sampleOf(labels: Sample['labels'], value: number | undefined): Sample[] {
  return value === undefined ? [] : [{ labels, value }]
}

/** How many instances are in each state. */
export function countByState(instances: readonly InstanceStatus[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { state } of instances) counts[state] = (counts[state] ?? 0) + 1
  return counts
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1_000
}
