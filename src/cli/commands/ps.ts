import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { readOptions, SCOPE_MESH, SCOPE_NODE } from '../control.ts'
import { unitShape } from '../shapes.ts'
import { noteUnreachable, parseUnitNames } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'
import { sorted, unitTable } from '../views.ts'

export const psCommand: Command = {
  name: 'ps',
  summary: 'list the instances of units on all nodes of the mesh',
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [],
  json: `[{unit, instance, replica, node, kind, state, ready, pid, startedAt, restarts, cpu, rssBytes, services: [],
  ports: {NAME: N}, exit: {code}|{signal}|null, reason, want, retryAt,
  limits: [{resource, value, mode, by, used}], run, schedule, nextRun}]
cpu in cores, startedAt RFC 3339 UTC, pid and startedAt null when there is no process; want = up or down, as asked for;
retryAt = when it is tried again by itself, or null; a limit's mode is enforced, watched or unsupported, its used may be null;
run = of a job, the run it belongs to or the last one; schedule = its cron expression, nextRun = when it runs next by itself, or null`,
  examples: ['hsu ps', 'hsu ps api worker@edge-b', 'hsu ps --node edge-b -o json'],

  async run({ args }, context) {
    const names = parseUnitNames(args, context)
    const scope = context.global.node === undefined ? SCOPE_MESH : SCOPE_NODE
    const client = await context.client()
    const request = { scope, units: [...new Set(names.map(({ unit }) => unit))] }
    const { units, unreachable } = await client.listUnits(request, readOptions(context))
    noteUnreachable(unreachable, context)

    const wanted = units.filter(
      ({ unit, node }) =>
        names.length === 0 || names.some((name) => name.unit === unit && (name.node ?? node) === node),
    )
    const missing = names.find(
      (name) => !wanted.some(({ unit, node }) => name.unit === unit && (name.node ?? node) === node),
    )
    await context.output.print(sorted(wanted.map(unitShape)), (rows, style) =>
      unitTable(rows, context.clock.wallMs(), style),
    )
    if (missing !== undefined) {
      throw new HsuError('UNIT_NOT_FOUND', `no unit '${missing.unit}'${onNode(missing.node)}`, {
        details: { unit: missing.unit },
      })
    }
    return undefined
  },
}

function onNode(node: string | undefined): string {
  return node === undefined ? ' in the mesh' : ` on node ${node}`
}
