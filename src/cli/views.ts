import { formatDurationMs, formatSizeBytes } from '../base/quantity.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import { ago, dateTime } from './moment.ts'
import type { EventShape, NodeShape, ServiceShape, UnitShape } from './shapes.ts'
import { paintState, type Style } from './style.ts'
import { type Column, table } from './table.ts'

/** What stands in a cell that has nothing to say. */
const NOTHING = '-'

/** The table of `hsu ps`, sorted by unit, node and replica. */
export function unitTable(units: readonly UnitShape[], nowMs: number, style: Style): string {
  const columns: Column<UnitShape>[] = [
    { title: 'UNIT', cell: ({ unit }) => unit },
    { title: 'REPLICA', align: 'right', cell: ({ replica }) => String(replica) },
    { title: 'NODE', cell: ({ node }) => node },
    { title: 'KIND', cell: kindOf },
    { title: 'STATE', cell: ({ state }, paint) => paintState(state, paint) },
    { title: 'READY', cell: ({ ready }, paint) => (ready ? paint.good('yes') : 'no') },
    { title: 'PID', align: 'right', cell: ({ pid }) => (pid === null ? NOTHING : String(pid)) },
    { title: 'STARTED', cell: ({ startedAt }) => relative(startedAt, nowMs) },
    { title: 'RESTARTS', align: 'right', cell: ({ restarts }) => String(restarts) },
    { title: 'CPU', align: 'right', cell: ({ cpu, pid }) => (pid === null ? NOTHING : cpu.toFixed(2)) },
    { title: 'RSS', align: 'right', cell: ({ rssBytes, pid }) => (pid === null ? NOTHING : formatSizeBytes(rssBytes)) },
    { title: 'PORTS', cell: ({ ports }) => record(ports, ':') },
    { title: 'WHY', cell: (row) => [why(row), next(row, nowMs)].filter((part) => part !== '').join('; ') },
  ]
  return units.length === 0 ? 'no units' : table(sorted(units), columns, style)
}

type Slot = Pick<UnitShape, 'unit' | 'node' | 'replica'>

/** Order of all lists of units: by unit, node and replica. */
export function sorted<T extends Slot>(units: readonly T[]): T[] {
  return [...units].sort(compareSlots)
}

export function compareSlots(one: Slot, other: Slot): number {
  return compare(one.unit, other.unit) || compare(one.node, other.node) || one.replica - other.replica
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** What was attached at run time is told from what the configuration says. */
function kindOf({ kind, origin }: UnitShape): string {
  return origin?.startsWith('attached') === true ? 'attached' : kind
}

/** The checks of an unmanaged unit: a line for each, with counts and the last message. */
export function checkTable(units: readonly UnitShape[], style: Style): string {
  const checks = units.flatMap(({ health }) => health?.checks ?? [])
  type Row = (typeof checks)[number]
  const columns: Column<Row>[] = [
    { title: 'CHECK', cell: ({ check }) => check },
    { title: 'STATE', cell: ({ state }, paint) => paintState(state, paint) },
    { title: 'FAILURES', align: 'right', cell: ({ failures, failAfter }) => `${failures}/${failAfter}` },
    { title: 'GOOD', align: 'right', cell: ({ good }) => String(good) },
    { title: 'BAD', align: 'right', cell: ({ bad }) => String(bad) },
    { title: 'MESSAGE', cell: ({ message }) => message || NOTHING },
  ]
  return checks.length === 0 ? '' : table(checks, columns, style)
}

export function why({ reason, exit }: Pick<UnitShape, 'reason' | 'exit'>): string {
  if (reason !== '' || exit === null) return reason
  return 'code' in exit ? `exit code ${exit.code}` : `killed by ${exit.signal}`
}

/** When something will happen by itself: a new try, or the next run of a job that does not run. */
function next({ retryAt, nextRun, pid }: UnitShape, nowMs: number): string {
  const retryMs = parseRfc3339Ms(retryAt ?? '')
  if (retryMs !== undefined) return `next try in ${formatDurationMs(Math.max(0, retryMs - nowMs))}`
  const runMs = pid === null ? parseRfc3339Ms(nextRun ?? '') : undefined
  if (runMs === undefined) return ''
  return runMs <= nowMs ? 'due now' : `due in ${formatDurationMs(Math.max(1_000, runMs - nowMs))}`
}

function relative(time: string | null, nowMs: number): string {
  const wallMs = time === null ? undefined : parseRfc3339Ms(time)
  return wallMs === undefined ? NOTHING : ago(wallMs, nowMs)
}

function record(entries: Readonly<Record<string, number | string>>, between: string): string {
  const pairs = Object.entries(entries).map(([name, value]) => `${name}${between}${value}`)
  return pairs.length === 0 ? NOTHING : pairs.sort().join(' ')
}

/** The table of `hsu nodes`; `*` marks the node that answered. */
export function nodeTable(nodes: readonly NodeShape[], style: Style): string {
  const columns: Column<NodeShape>[] = [
    { title: 'NODE', cell: ({ node, self }) => (self ? `${node}*` : node) },
    { title: 'STATUS', cell: ({ status }, paint) => paintState(status, paint) },
    { title: 'UNITS', align: 'right', cell: ({ units }) => String(units) },
    { title: 'VERSION', cell: ({ version }) => version || NOTHING },
    { title: 'ID', cell: ({ id }) => id },
    { title: 'ADDRESSES', cell: ({ addresses }) => addresses.join(' ') || NOTHING },
    { title: 'LABELS', cell: ({ labels }) => record(labels, '=') },
  ]
  return table(nodes, columns, style)
}

/** Only where there is something to show. */
const VERSION: Column<EndpointRow> = { title: 'VERSION', cell: ({ version = NOTHING }) => version }
const CANARY: Column<EndpointRow> = {
  title: 'CANARY',
  cell: ({ canary }) =>
    canary === undefined
      ? NOTHING
      : `${Number((canary.share * 100).toFixed(2))}% ${record(canary.headers, '=')}`.trim(),
}

type EndpointRow = { readonly service: string } & Partial<ServiceShape['endpoints'][number]>

/** The table of `hsu services`: a line for each endpoint, and one for a service that has none. */
export function serviceTable(services: readonly ServiceShape[], style: Style): string {
  const rows = services.flatMap(({ service, endpoints }): EndpointRow[] =>
    endpoints.length === 0 ? [{ service }] : endpoints.map((endpoint) => ({ service, ...endpoint })),
  )
  const columns: Column<EndpointRow>[] = [
    { title: 'SERVICE', cell: ({ service }) => service },
    { title: 'UNIT', cell: ({ unit }) => unit ?? NOTHING },
    { title: 'INSTANCE', cell: ({ instance }) => instance ?? NOTHING },
    { title: 'NODE', cell: ({ node }) => node ?? NOTHING },
    { title: 'READY', cell: ({ ready }, paint) => (ready === true ? paint.good('yes') : paint.warn('no')) },
    { title: 'ADDRESS', cell: ({ address }) => address ?? NOTHING },
    {
      title: 'IN FLIGHT',
      align: 'right',
      cell: ({ inFlight }) => (inFlight === undefined ? NOTHING : String(inFlight)),
    },
    ...(rows.some(({ version }) => version !== undefined) ? [VERSION] : []),
    ...(rows.some(({ canary }) => canary !== undefined) ? [CANARY] : []),
  ]
  return rows.length === 0 ? 'no services' : table(rows, columns, style)
}

/** One event on one line: when, where, what, why. */
export function eventLine(event: EventShape, style: Style): string {
  const wallMs = event.time === null ? undefined : parseRfc3339Ms(event.time)
  const { subject, rest } = subjectOf(event)
  const what = [event.type, subject].filter((part) => part !== '').join(' ')
  const details = record(rest, '=')
  const isSaid = event.cause === '' || event.reason.includes(event.cause)
  const more = [event.reason, details === NOTHING ? '' : details, isSaid ? '' : `(${event.cause})`].filter(
    (part) => part !== '',
  )
  return [
    style.faint(wallMs === undefined ? NOTHING : dateTime(wallMs)),
    event.node,
    paintEvent(event.type, what, style),
    ...more,
  ].join('  ')
}

/** What the event is about, and the details besides. A member is named; its id is told where its name is not enough. */
function subjectOf({ type, unit, instance, details }: EventShape) {
  const { name = '', nodeId = '', ...others } = details
  if (!/^(member|mesh)[.]/.test(type) || nodeId === '') return { subject: instance || unit, rest: details }
  const isNameEnough = name !== '' && !type.endsWith('-conflict')
  return { subject: name || nodeId, rest: isNameEnough || name === '' ? others : { nodeId, ...others } }
}

/** Colours an event by whether it is good or bad news. */
export function paintEvent(type: string, text: string, style: Style): string {
  if (/[.](ready|adopted|found|completed|alive|healthy|limit_kept|logs_kept)$/.test(type)) return style.good(text)
  if (/[.](failed|dead|lost|refused|ambiguous|unhealthy|limit_exceeded|logs_lost)$/.test(type)) return style.bad(text)
  if (/[.](exited|backoff|unready|degraded|suspect|stopping|left|skipped|missed)$/.test(type)) return style.warn(text)
  return text
}
