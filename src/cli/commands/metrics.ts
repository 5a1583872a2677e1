import type { Command } from '../command.ts'
import { callOptions, SCOPE_MESH, SCOPE_NODE, toTimestamp } from '../control.ts'
import { momentMs } from '../options.ts'
import { oneNode } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'
import { type SeriesShape, seriesShape, USAGE_KEYS } from '../usage-shapes.ts'
import { seriesTable } from '../usage-views.ts'
import { compareSlots } from '../views.ts'

/** The whole of an hour of many replicas takes a while to send. */
const TIMEOUT_MS = 30_000

export const metricsCommand: Command = {
  name: 'metrics',
  summary: 'show what units used in the last hour',
  description:
    'One sample each 10 s: CPU on average, sizes and counts at their largest, storage traffic in all since the start.',
  args: [UNITS_ARGUMENT],
  options: [
    { flags: '--since <when>', summary: 'only since: a duration, such as 10m, or an RFC 3339 time; default 1h' },
  ],
  json: `[{unit, replica, node, samples: [{time, instance, ${USAGE_KEYS}}]}]
cpu in cores; a figure the system does not tell is null`,
  examples: ['hsu metrics api --since 10m', 'hsu metrics api@edge-b --since 1h -o json'],

  async run({ args, options }, context) {
    const { units, node } = oneNode(args, context)
    const sinceMs = momentMs(options, 'since', context.clock.wallMs())
    const client = await context.client()
    const request = {
      units,
      scope: node === undefined ? SCOPE_MESH : SCOPE_NODE,
      ...(sinceMs === undefined ? {} : { since: toTimestamp(sinceMs) }),
    }
    const series: SeriesShape[] = []
    for await (const one of client.streamUsage(request, callOptions(context, { node, timeoutMs: TIMEOUT_MS }))) {
      series.push(seriesShape(one))
    }
    await context.output.print(series.sort(compareSlots), (all, style) =>
      all.length === 0 ? 'nothing was read yet' : all.map((one) => seriesTable(one, style)).join('\n\n'),
    )
    return undefined
  },
}
