import type { Command } from '../command.ts'
import { flag } from '../options.ts'
import { parseUnitNames } from '../target.ts'
import { actOn, INSTANCES_JSON, UNITS_ARGUMENT, type UnitCall } from '../unit-action.ts'

export const restartCommand: Command = {
  name: 'restart',
  summary: 'stop units and start them again',
  description:
    'Returns when the new process is there. Several replicas are restarted in turn, each once the one before is ready, so that calls ' +
    'find one at any time; it stops at the first that does not become ready. With --force, all at once, and waits neither for ' +
    'callers to turn away, nor for dependencies, nor for the end of a backoff; the process still has its grace to end by itself.',
  args: [UNITS_ARGUMENT],
  options: [
    { flags: '--force', summary: 'at once: without drain, dependencies or backoff' },
    { flags: '--all-at-once', summary: 'all replicas side by side, not in turn' },
  ],
  json: INSTANCES_JSON,
  examples: ['hsu restart api', 'hsu restart --all-at-once api', 'hsu restart --force worker@edge-b'],

  run({ args, options }, context) {
    const how = {
      ...(flag(options, 'force') ? { force: true } : {}),
      ...(flag(options, 'allAtOnce') ? { allAtOnce: true } : {}),
    }
    const call: UnitCall = (client, unit, aim) => client.restartUnit({ unit, ...how }, aim)
    return actOn(parseUnitNames(args, context), call, context)
  },
}
