import type { Command } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions } from '../control.ts'
import { locate, nameOf, parseUnitNames, type Target } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

export const detachCommand: Command = {
  name: 'detach',
  summary: 'watch units no longer that were attached; their processes are not touched',
  args: [UNITS_ARGUMENT],
  options: [],
  json: '[{unit, node}], what was detached; node is null for that of this host',
  examples: ['hsu detach pg'],

  async run({ args }, context) {
    const client = await context.client()
    const targets = (await Promise.all(parseUnitNames(args, context).map((name) => locate(name, context)))).flat()
    for (const { unit, node } of targets) {
      await client.detachUnit({ unit }, actionOptions(context, { node, timeoutMs: ACTION_TIMEOUT_MS }))
    }
    const shapes = targets.map(({ unit, node }) => ({ unit, node: node ?? null }))
    await context.output.print(shapes, () => targets.map(line).join('\n'))
    return undefined
  },
}

function line(target: Target): string {
  return `${nameOf(target)} is detached`
}
