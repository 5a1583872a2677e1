import { formatDurationMs } from '../../base/quantity.ts'
import { parseRfc3339Ms } from '../../base/system-date.ts'
import type { Command } from '../command.ts'
import { readOptions, SCOPE_MESH, SCOPE_NODE } from '../control.ts'
import { dateTime } from '../moment.ts'
import { type RunShape, runShape } from '../run-shape.ts'
import { type UnitShape, unitShape } from '../shapes.ts'
import { paintState, type Style } from '../style.ts'
import { type Column, table } from '../table.ts'
import { noteUnreachable, parseUnitNames, type UnitName } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'
import { why } from '../views.ts'

export const runsCommand: Command = {
  name: 'runs',
  summary: 'list the runs of jobs on all nodes, oldest first, and when the next ones are due',
  description: 'Each node remembers the last `job.history` runs of a unit.',
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [],
  json: `[{run, unit, node, instance, state, cause, actor, args: [], tick, startedAt, endedAt, durationMs, attempts,
  exit: {code}|{signal}|null, reason}]
state = running, completed, failed or stopped; cause = person or schedule; tick = the time of the schedule it is for`,
  examples: ['hsu runs', 'hsu runs report', 'hsu runs report@edge-b -o json'],

  async run({ args }, context) {
    const names = parseUnitNames(args, context)
    const scope = context.global.node === undefined ? SCOPE_MESH : SCOPE_NODE
    const request = { scope, units: [...new Set(names.map(({ unit }) => unit))] }
    const client = await context.client()
    const { runs, unreachable } = await client.listRuns(request, readOptions(context))
    noteUnreachable(unreachable, context)
    const { units } = await client.listUnits(request, readOptions(context))
    const shown = runs.filter((run) => isNamed(run, names)).map(runShape)
    const due = units.filter((unit) => isNamed(unit, names)).map(unitShape)
    await context.output.print(sorted(shown), (all, style) => textOf(all, due, style))
    return undefined
  },
}

function isNamed(one: { readonly unit: string; readonly node: string }, names: readonly UnitName[]): boolean {
  return names.length === 0 || names.some(({ unit, node }) => unit === one.unit && (node ?? one.node) === one.node)
}

function sorted(runs: readonly RunShape[]): RunShape[] {
  return [...runs].sort((one, other) => timeOf(one.startedAt) - timeOf(other.startedAt))
}

function timeOf(time: string | null): number {
  return parseRfc3339Ms(time ?? '') ?? 0
}

const NOTHING = '-'

function textOf(runs: readonly RunShape[], units: readonly UnitShape[], style: Style): string {
  const columns: Column<RunShape>[] = [
    { title: 'RUN', cell: ({ run }) => run },
    { title: 'UNIT', cell: ({ unit }) => unit },
    { title: 'NODE', cell: ({ node }) => node },
    { title: 'CAUSE', cell: ({ cause, actor }) => actor || cause },
    { title: 'STARTED', cell: ({ startedAt }) => (startedAt === null ? NOTHING : dateTime(timeOf(startedAt))) },
    { title: 'TOOK', cell: ({ durationMs }) => (durationMs === null ? NOTHING : formatDurationMs(durationMs)) },
    { title: 'ATTEMPTS', align: 'right', cell: ({ attempts }) => String(attempts) },
    { title: 'STATE', cell: ({ state }, paint) => paintState(state, paint) },
    { title: 'WHY', cell: why },
  ]
  const list = runs.length === 0 ? 'no runs' : table(runs, columns, style)
  return [list, ...nextRuns(units)].join('\n')
}

function nextRuns(units: readonly UnitShape[]): readonly string[] {
  const due = new Map(
    units.flatMap(({ unit, node, nextRun }) => (nextRun === null ? [] : [[`${unit}@${node}`, nextRun]])),
  )
  return [...due].map(([unit, time]) => `${unit} is due at ${dateTime(timeOf(time))}`)
}
