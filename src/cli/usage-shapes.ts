import { type NodeUsage, rfc3339, type Unit, type UsageMessage, type UsageSample, type UsageSeries } from './control.ts'
import type { CallsShape } from './call-shapes.ts'
import { type UnitShape, unitShape } from './shapes.ts'

// The shapes of usage that `-o json` prints. Public API: add keys freely, never rename or remove one.

/** What a process tree uses; null where the system does not tell. */
export interface UsageShape {
  readonly cpu: number
  readonly cpuSeconds: number
  readonly rssBytes: number
  readonly pssBytes: number | null
  readonly virtualBytes: number | null
  readonly processes: number
  readonly threads: number | null
  readonly files: number | null
  readonly ioReadBytes: number | null
  readonly ioWriteBytes: number | null
}

/** The keys of `UsageShape`, for docs/cli.md. */
export const USAGE_KEYS =
  'cpu, cpuSeconds, rssBytes, pssBytes, virtualBytes, processes, threads, files, ioReadBytes, ioWriteBytes'

function usageShape(usage: UsageMessage): UsageShape {
  return {
    cpu: usage.cpu,
    cpuSeconds: usage.cpuSeconds,
    rssBytes: Number(usage.rssBytes),
    pssBytes: numberOf(usage.pssBytes),
    virtualBytes: numberOf(usage.virtualBytes),
    processes: usage.processes,
    threads: numberOf(usage.threads),
    files: numberOf(usage.files),
    ioReadBytes: numberOf(usage.ioReadBytes),
    ioWriteBytes: numberOf(usage.ioWriteBytes),
  }
}

function numberOf(value: number | bigint | undefined): number | null {
  return value === undefined ? null : Number(value)
}

/** A unit of `hsu top`: as in `ps`, with all that is known of its usage. */
export type UnitUsageShape = UnitShape & { readonly usage: UsageShape | null }

export function unitUsageShape(unit: Unit): UnitUsageShape {
  return { ...unitShape(unit), usage: unit.usage === undefined ? null : usageShape(unit.usage) }
}

/** A node of `hsu top`, without its units. */
export interface NodeUsageShape {
  readonly node: string
  readonly startedAt: string | null
  readonly usage: UsageShape | null
}

export function nodeUsageShape({ node, startedAt, usage }: NodeUsage): NodeUsageShape {
  return { node, startedAt: rfc3339(startedAt), usage: usage === undefined ? null : usageShape(usage) }
}

/** What `hsu top -o json` prints. */
export interface TopShape {
  readonly time: string
  readonly nodes: readonly NodeUsageShape[]
  readonly units: readonly UnitUsageShape[]
  readonly calls: readonly CallsShape[]
  /** Nodes that did not answer. */
  readonly unreachable: readonly string[]
}

/** A sample of `hsu metrics`. */
export type SampleShape = { readonly time: string | null; readonly instance: string } & UsageShape

/** An element of `hsu metrics -o json`. */
export interface SeriesShape {
  readonly unit: string
  readonly replica: number
  readonly node: string
  readonly samples: readonly SampleShape[]
}

export function seriesShape({ unit, replica, node, samples }: UsageSeries): SeriesShape {
  return { unit, replica, node, samples: samples.flatMap(sampleShape) }
}

function sampleShape({ time, instance, usage }: UsageSample): SampleShape[] {
  return usage === undefined ? [] : [{ time: rfc3339(time), instance, ...usageShape(usage) }]
}
