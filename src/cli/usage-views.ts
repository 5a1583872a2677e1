import { formatSizeBytes } from '../base/quantity.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import { dateTime } from './moment.ts'
import type { Style } from './style.ts'
import { type Column, table } from './table.ts'
import type { SeriesShape, UnitUsageShape, UsageShape } from './usage-shapes.ts'

/** What stands in a cell whose figure is not known. */
const UNKNOWN = '-'

/** 100 is one core, as in top(1). */
export function percent(cpu: number | undefined): string {
  return cpu === undefined ? UNKNOWN : (cpu * 100).toFixed(1)
}

export function size(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? UNKNOWN : formatSizeBytes(Math.round(bytes))
}

export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : String(value)
}

/** The columns that all tables of usage share. */
export function usageColumns<T>(usageOf: (row: T) => UsageShape | null): Column<T>[] {
  const right = 'right' as const
  return [
    { title: 'CPU%', align: right, cell: (row) => percent(usageOf(row)?.cpu) },
    { title: 'RSS', align: right, cell: (row) => size(usageOf(row)?.rssBytes) },
    { title: 'PSS', align: right, cell: (row) => size(usageOf(row)?.pssBytes) },
    { title: 'VIRTUAL', align: right, cell: (row) => size(usageOf(row)?.virtualBytes) },
    { title: 'PROCS', align: right, cell: (row) => number(usageOf(row)?.processes) },
    { title: 'THREADS', align: right, cell: (row) => number(usageOf(row)?.threads) },
    { title: 'FILES', align: right, cell: (row) => number(usageOf(row)?.files) },
  ]
}

/** What storage traffic there was in all. */
function trafficColumns<T>(usageOf: (row: T) => UsageShape | null): Column<T>[] {
  return [
    { title: 'READ', align: 'right', cell: (row) => size(usageOf(row)?.ioReadBytes) },
    { title: 'WRITTEN', align: 'right', cell: (row) => size(usageOf(row)?.ioWriteBytes) },
  ]
}

/** The usage of the instances of one unit; empty when none has a process. */
export function usageTable(units: readonly UnitUsageShape[], style: Style): string {
  const rows = units.filter(({ usage }) => usage !== null)
  const usageOf = ({ usage }: UnitUsageShape): UsageShape | null => usage
  const columns: Column<UnitUsageShape>[] = [
    { title: 'REPLICA', align: 'right', cell: ({ replica }) => String(replica) },
    { title: 'NODE', cell: ({ node }) => node },
    ...usageColumns(usageOf),
    ...trafficColumns(usageOf),
  ]
  return rows.length === 0 ? '' : table(rows, columns, style)
}

/** The history of one slot, oldest first. */
export function seriesTable({ unit, replica, node, samples }: SeriesShape, style: Style): string {
  type Row = SeriesShape['samples'][number]
  const itself = (row: Row): UsageShape => row
  const columns: Column<Row>[] = [
    { title: 'TIME', cell: ({ time }) => dateTime(parseRfc3339Ms(time ?? '') ?? 0) },
    { title: 'INSTANCE', cell: ({ instance }) => instance },
    ...usageColumns(itself),
    ...trafficColumns(itself),
  ]
  const title = style.strong(`${unit}, replica ${replica}, on ${node}`)
  return `${title}\n${samples.length === 0 ? 'nothing in this time' : table(samples, columns, style)}`
}
