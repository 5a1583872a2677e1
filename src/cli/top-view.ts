import { formatDurationMs } from '../base/quantity.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import { callLines } from './call-views.ts'
import { clip } from './clip.ts'
import { clockTime } from './moment.ts'
import { paintState, type Style } from './style.ts'
import { type Column, table } from './table.ts'
import type { TopShape, UnitUsageShape, UsageShape } from './usage-shapes.ts'
import { number, percent, size, usageColumns } from './usage-views.ts'
import { compareSlots } from './views.ts'

/** Lines for nodes, before the rest of them is only counted. */
const MAX_NODE_LINES = 4

/** Lines for the services that are called most. */
const MAX_CALL_LINES = 4

/** Rows of `hsu top`: a unit and what it moved to and from storage a second; undefined before there are two frames. */
interface Row extends UnitUsageShape {
  readonly readPerSecond: number | undefined
  readonly writePerSecond: number | undefined
}

type SortKey = 'cpu' | 'memory' | 'threads' | 'files' | 'io' | 'name'

/** How the person wants to see it. */
export interface TopState {
  readonly sort: SortKey
  readonly reversed: boolean
  /** The first row that is shown. */
  readonly offset: number
}

export const FIRST_STATE: TopState = { sort: 'cpu', reversed: false, offset: 0 }

const SORT_KEYS: Readonly<Record<string, SortKey>> = {
  c: 'cpu',
  m: 'memory',
  t: 'threads',
  f: 'files',
  i: 'io',
  n: 'name',
}

/** What can be pressed, for the line at the bottom and for docs/cli.md. */
export const KEYS = 'q quit  c cpu  m memory  t threads  f files  i io  n name  r reverse  j/k or arrows scroll'

/** What a key does to the view; `quit` for the keys that end it. */
export function press(state: TopState, key: string): TopState | 'quit' {
  switch (key) {
    case 'q':
    case '\u0003': // ^C, which a terminal in raw mode gives as a key
      return 'quit'
    case 'r':
      return { ...state, reversed: !state.reversed, offset: 0 }
    case 'j':
    case '\u001B[B':
      return { ...state, offset: state.offset + 1 }
    case 'k':
    case '\u001B[A':
      return { ...state, offset: Math.max(0, state.offset - 1) }
    default: {
      const sort = Object.hasOwn(SORT_KEYS, key) ? SORT_KEYS[key] : undefined
      return sort === undefined ? state : { sort, reversed: false, offset: 0 }
    }
  }
}

export interface Frame {
  readonly now: TopShape
  readonly before: TopShape | undefined
  /** Why the figures are old; '' when they are not. */
  readonly fault: string
}

/** Everything at once, for a pipe or a file. */
export function topText(frame: Frame, state: TopState, style: Style): string {
  return [...head(frame, style), '', unitTable(rowsOf(frame, state), frame.now.time, style)].join('\n')
}

/** As many lines as the screen has, none wider than it is. */
export function topScreen(
  frame: Frame,
  state: TopState,
  { columns, rows }: { readonly columns: number; readonly rows: number },
  style: Style,
): readonly string[] {
  const top = [...head(frame, style), '']
  const [titles = '', ...body] = unitTable(rowsOf(frame, state), frame.now.time, style).split('\n')
  const room = Math.max(1, rows - top.length - 2)
  // Scrolled too far, the last page stays.
  const offset = Math.max(0, Math.min(state.offset, body.length - room))
  const foot = style.faint(frame.fault === '' ? `by ${state.sort}   ${KEYS}` : frame.fault)
  const lines = [...top, titles, ...body.slice(offset, offset + room)].slice(0, Math.max(0, rows - 1))
  while (lines.length < rows - 1) lines.push('')
  return [...lines, foot].map((line) => clip(line, columns))
}

function head({ now, before }: Frame, style: Style): string[] {
  const nowMs = parseRfc3339Ms(now.time) ?? 0
  const up = now.units.filter(({ state }) => state === 'up').length
  const title = `${clockTime(nowMs)}  ${count(now.nodes.length, 'node')}, ${count(now.units.length, 'instance')}, ${up} up`
  const nodes = [...now.nodes].sort((a, b) => (b.usage?.cpu ?? 0) - (a.usage?.cpu ?? 0))
  const lines = nodes.slice(0, MAX_NODE_LINES).map(({ node, startedAt, usage }) => {
    const figures = [
      `CPU ${percent(usage?.cpu)}%`,
      `RSS ${size(usage?.rssBytes)}`,
      `PSS ${size(usage?.pssBytes)}`,
      `files ${number(usage?.files)}`,
    ]
    return `  node ${node}: up ${age(startedAt, nowMs)}, itself ${figures.join(', ')}`
  })
  const more = nodes.length - lines.length
  const missing = now.unreachable.map((node) => style.bad(`  node ${node}: no answer`)).slice(0, MAX_NODE_LINES)
  const elapsedMs = before === undefined ? 0 : nowMs - (parseRfc3339Ms(before.time) ?? nowMs)
  const calls = callLines(now.calls, before?.calls, elapsedMs, MAX_CALL_LINES)
  return [style.strong(title), ...lines, ...calls, ...(more > 0 ? [`  and ${more} more nodes`] : []), ...missing]
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

function age(startedAt: string | null, nowMs: number): string {
  const wallMs = startedAt === null ? undefined : parseRfc3339Ms(startedAt)
  return wallMs === undefined ? '-' : formatDurationMs(Math.max(1_000, nowMs - wallMs))
}

function unitTable(rows: readonly Row[], time: string, style: Style): string {
  const nowMs = parseRfc3339Ms(time) ?? 0
  const perSecond = (bytes: number | undefined): string => size(bytes)
  const columns: Column<Row>[] = [
    { title: 'UNIT', cell: ({ unit, replica }) => `${unit}/${replica}` },
    { title: 'NODE', cell: ({ node }) => node },
    { title: 'STATE', cell: ({ state }, paint) => paintState(state, paint) },
    { title: 'PID', align: 'right', cell: ({ pid }) => number(pid) },
    { title: 'UP', align: 'right', cell: ({ startedAt }) => age(startedAt, nowMs) },
    ...usageColumns(({ usage }: Row): UsageShape | null => usage),
    { title: 'READ/s', align: 'right', cell: ({ readPerSecond }) => perSecond(readPerSecond) },
    { title: 'WRITE/s', align: 'right', cell: ({ writePerSecond }) => perSecond(writePerSecond) },
  ]
  return rows.length === 0 ? 'no units' : table(rows, columns, style)
}

function rowsOf({ now, before }: Frame, { sort, reversed }: TopState): Row[] {
  const elapsedMs = before === undefined ? 0 : (parseRfc3339Ms(now.time) ?? 0) - (parseRfc3339Ms(before.time) ?? 0)
  const last = new Map(before?.units.map((unit) => [keyOf(unit), unit.usage]))
  const rows = now.units.map((unit) => {
    const old = last.get(keyOf(unit))
    const rate = (figure: 'ioReadBytes' | 'ioWriteBytes'): number | undefined => {
      const [from, to] = [old?.[figure] ?? null, unit.usage?.[figure] ?? null]
      return from === null || to === null || elapsedMs <= 0 ? undefined : Math.max(0, ((to - from) * 1_000) / elapsedMs)
    }
    return { ...unit, readPerSecond: rate('ioReadBytes'), writePerSecond: rate('ioWriteBytes') }
  })
  rows.sort((one, other) => weight(other, sort) - weight(one, sort) || compareSlots(one, other))
  return reversed ? rows.reverse() : rows
}

/** Rates are of one instance: its successor begins at 0. */
function keyOf({ node, instance }: UnitUsageShape): string {
  return `${node} ${instance}`
}

function weight(row: Row, sort: SortKey): number {
  switch (sort) {
    case 'cpu':
      return row.usage?.cpu ?? -1
    case 'memory':
      return row.usage?.rssBytes ?? -1
    case 'threads':
      return row.usage?.threads ?? -1
    case 'files':
      return row.usage?.files ?? -1
    case 'io':
      return (row.readPerSecond ?? 0) + (row.writePerSecond ?? 0)
    case 'name':
      return 0
  }
}
