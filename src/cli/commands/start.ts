import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { parseUnitNames } from '../target.ts'
import { actOn, INSTANCES_JSON, type UnitCall, UNITS_ARGUMENT } from '../unit-action.ts'

export const startCommand: Command = {
  name: 'start',
  summary: 'start units; does nothing to those that run',
  description:
    'Returns when the unit is on its way. `hsu wait UNIT --for ready` waits until it can be used. Of a job it begins a run.',
  args: [UNITS_ARGUMENT],
  rest:
    'go behind the arguments that the configuration has, as they are, for this start and the restarts after a crash; ' +
    '`hsu restart` and the next start are without them. A unit that runs already refuses them',
  options: [],
  json: INSTANCES_JSON,
  examples: ['hsu start api worker@edge-b', 'hsu start api -- --log-level debug'],

  run({ args, rest = [] }, context) {
    const names = parseUnitNames(args, context)
    if (names.length === 0) throw new HsuError('USAGE', 'name a unit before --, such as hsu start UNIT -- ARGS')
    const call: UnitCall = (client, unit, options) => client.startUnit({ unit, args: [...rest] }, options)
    return actOn(names, call, context)
  },
}
