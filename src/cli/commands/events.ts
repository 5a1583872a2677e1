import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { callOptions, SCOPE_MESH, SCOPE_NODE, toTimestamp } from '../control.ts'
import { count, flag, list, momentMs } from '../options.ts'
import { eventShape } from '../shapes.ts'
import { oneNode } from '../target.ts'
import { eventLine } from '../views.ts'
import { FOLLOW_OPTIONS, FOLLOW_TAIL } from '../follow.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

export const eventsCommand: Command = {
  name: 'events',
  summary: 'show what happened on all nodes, oldest first',
  description: 'With -f and neither -n nor --since, begins with the last 10 events.',
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [
    ...FOLLOW_OPTIONS,
    { flags: '--until <when>', summary: 'only those before: a duration, such as 5m, or an RFC 3339 time; not with -f' },
    { flags: '--type <type>', summary: 'only this type; `unit.*` = all that begin so', many: true },
    { flags: '--unit <unit>', summary: 'as the argument UNIT', many: true },
  ],
  json: `one object a line: {time, node, unit, instance, type, reason, details, cause, id, causedBy, actor}
causedBy = the id of the event that led to it, actor = who asked; empty when there is none`,
  examples: [
    'hsu events -f',
    'hsu events --since 1h --until 10m api',
    'hsu events --type unit.exited --type unit.failed',
  ],

  async run({ args, options }, context) {
    const { units, node } = oneNode([...args, ...list(options, 'unit')], context)
    const follow = flag(options, 'follow')
    const sinceMs = momentMs(options, 'since', context.clock.wallMs())
    const untilMs = momentMs(options, 'until', context.clock.wallMs())
    if (follow && untilMs !== undefined) throw new HsuError('USAGE', '--until and --follow exclude each other')
    const tail = count(options, 'tail') ?? (follow && sinceMs === undefined ? FOLLOW_TAIL : undefined)
    const request = {
      units,
      types: [...list(options, 'type')],
      follow,
      scope: node === undefined ? SCOPE_MESH : SCOPE_NODE,
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { since: toTimestamp(sinceMs) }),
      ...(untilMs === undefined ? {} : { until: toTimestamp(untilMs) }),
    }
    const client = await context.client()
    for await (const { event } of client.streamEvents(request, callOptions(context, { node }))) {
      if (event !== undefined) await context.output.line(eventShape(event), eventLine)
    }
    return undefined
  },
}
