import type { Command } from '../command.ts'
import { flag } from '../options.ts'
import { parseUnitNames } from '../target.ts'
import { actOn, INSTANCES_JSON, UNITS_ARGUMENT, type UnitCall } from '../unit-action.ts'

export const restartCommand: Command = {
  name: 'restart',
  summary: 'stop units and start them again',
  description:
    'Returns when the new process is there. With --force, waits neither for callers to turn away, nor for dependencies, ' +
    'nor for the end of a backoff; the process still has its grace to end by itself.',
  args: [UNITS_ARGUMENT],
  options: [{ flags: '--force', summary: 'at once: without drain, dependencies or backoff' }],
  json: INSTANCES_JSON,
  examples: ['hsu restart api', 'hsu restart --force worker@edge-b'],

  run({ args, options }, context) {
    const force = flag(options, 'force')
    const call: UnitCall = (client, unit, aim) => client.restartUnit({ unit, ...(force ? { force } : {}) }, aim)
    return actOn(parseUnitNames(args, context), call, context)
  },
}
