import { formatSizeBytes } from '../base/quantity.ts'
import type { LimitShape, UnitShape } from './shapes.ts'
import { paintState, type Style } from './style.ts'
import { table } from './table.ts'

interface Row extends LimitShape {
  readonly replica: number
}

/** The limits of instances and who sees to them; '' when there are none. */
export function limitTable(instances: readonly UnitShape[], style: Style): string {
  const rows = instances.flatMap(({ replica, limits }) => limits.map((limit): Row => ({ ...limit, replica })))
  if (rows.length === 0) return ''
  const columns = [
    { title: 'REPLICA', cell: ({ replica }: Row) => String(replica) },
    { title: 'LIMIT', cell: ({ resource }: Row) => resource },
    { title: 'VALUE', align: 'right' as const, cell: ({ resource, value }: Row) => amount(resource, value) },
    {
      title: 'USED',
      align: 'right' as const,
      cell: ({ resource, used }: Row) => (used === null ? '-' : amount(resource, used)),
    },
    { title: 'MODE', cell: ({ mode }: Row, paint: Style) => paintState(mode, paint) },
    { title: 'BY', cell: ({ by }: Row) => by },
  ]
  return table(rows, columns, style)
}

function amount(resource: string, value: number): string {
  if (resource === 'memory') return formatSizeBytes(Math.round(value))
  if (resource.startsWith('io.')) return `${formatSizeBytes(Math.round(value))}/s`
  return String(Number(value.toFixed(2)))
}
