import type { Command } from '../command.ts'
import { readOptions, type UnitDescription } from '../control.ts'
import { limitTable } from '../limit-table.ts'
import { type EventShape, eventShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { locate, parseUnitNames } from '../target.ts'
import { type UnitUsageShape, unitUsageShape, USAGE_KEYS } from '../usage-shapes.ts'
import { usageTable } from '../usage-views.ts'
import { checkTable, eventLine, sorted, unitTable } from '../views.ts'

interface DescriptionShape {
  readonly unit: string
  readonly instances: readonly UnitUsageShape[]
  readonly config: unknown
  readonly events: readonly EventShape[]
}

export const describeCommand: Command = {
  name: 'describe',
  summary: 'show a unit: its instances, its configuration with defaults filled in, its latest events',
  args: [{ name: 'unit', summary: 'UNIT, or UNIT@NODE for a certain node', required: true, choices: 'units' }],
  options: [],
  json: `[{unit, instances: [as in \`ps\`, and usage], config: {}, events: [as in \`events\`]}], one element for each node that has it
usage: null or {${USAGE_KEYS}}, where null is what the system does not tell`,

  async run({ args }, context) {
    const [name] = parseUnitNames(args, context)
    if (name === undefined) return undefined
    const client = await context.client()
    const described: DescriptionShape[] = []
    for (const { unit, node } of await locate(name, context)) {
      described.push(shapeOf(unit, await client.describeUnit({ unit }, readOptions(context, node))))
    }
    await context.output.print(described, (all, style) =>
      all.map((one) => describe(one, context.clock.wallMs(), style)).join('\n\n'),
    )
    return undefined
  },
}

function shapeOf(unit: string, { instances, configJson, events }: UnitDescription): DescriptionShape {
  return {
    unit,
    instances: sorted(instances.map(unitUsageShape)),
    config: configJson === '' ? {} : JSON.parse(configJson),
    events: events.map(eventShape),
  }
}

function describe({ unit, instances, config, events }: DescriptionShape, nowMs: number, style: Style): string {
  const sections: [title: string, body: string][] = [
    [unit, unitTable(instances, nowMs, style)],
    ['usage', usageTable(instances, style)],
    ['origin', [...new Set(instances.flatMap(({ origin }) => origin ?? []))].join('\n')],
    ['checks', checkTable(instances, style)],
    ['services', [...new Set(instances.flatMap(({ services }) => services))].sort().join('\n')],
    ['limits', limitTable(instances, style)],
    ['config', JSON.stringify(config, undefined, 2)],
    ['events', events.map((event) => eventLine(event, style)).join('\n')],
  ]
  return sections
    .filter(([, body]) => body !== '')
    .map(([title, body]) => `${style.strong(title)}\n${indent(body)}`)
    .join('\n\n')
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ')
}
