import type { Command } from '../command.ts'
import { actionOptions, ACTION_TIMEOUT_MS } from '../control.ts'
import { parseUnitNames } from '../target.ts'
import { INSTANCES_JSON, instanceLines, UNITS_ARGUMENT } from '../unit-action.ts'
import { unitShape } from '../shapes.ts'
import { sorted } from '../views.ts'

export const wakeCommand: Command = {
  name: 'wake',
  summary: 'start units that sleep, as a call would, and wait until they are ready',
  description:
    'Of several nodes that have the unit, the one is chosen that a call would start it on; UNIT@NODE chooses another. ' +
    'Does nothing to what is awake.',
  args: [UNITS_ARGUMENT],
  options: [],
  json: INSTANCES_JSON,
  examples: ['hsu wake api', 'hsu wake worker@edge-b'],

  async run({ args }, context) {
    const client = await context.client()
    const names = parseUnitNames(args, context)
    const woken = await Promise.all(
      names.map(({ unit, node }) => {
        const options = actionOptions(context, { node, timeoutMs: ACTION_TIMEOUT_MS })
        return client.wakeUnit({ unit, here: node !== undefined }, options)
      }),
    )
    await context.output.print(sorted(woken.flatMap(({ instances }) => instances).map(unitShape)), instanceLines)
    return undefined
  },
}
