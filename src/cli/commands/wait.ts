import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { toDuration } from '../control.ts'
import { text } from '../options.ts'
import { parseUnitNames } from '../target.ts'
import { actOn, INSTANCES_JSON, UNITS_ARGUMENT, type UnitCall } from '../unit-action.ts'

const CONDITIONS = ['ready', 'up', 'down', 'completed', 'failed'] as const

/** How long to wait when nothing is said. */
const DEFAULT_TIMEOUT_MS = 60_000
/** What the node may take beyond the wait itself to say that it was in vain. */
const ANSWER_MS = 5_000

export const waitCommand: Command = {
  name: 'wait',
  summary: 'wait until units are ready, up, down, completed or failed',
  description: 'Exits 124 when the time given by --timeout is over; 60s when it is not given.',
  args: [UNITS_ARGUMENT],
  options: [{ flags: '--for <condition>', summary: 'what to wait for; default: ready', choices: CONDITIONS }],
  json: INSTANCES_JSON,
  examples: ['hsu wait api --for ready --timeout 30s', 'hsu wait report --for completed'],

  run({ args, options }, context) {
    const condition = text(options, 'for') ?? 'ready'
    if (!(CONDITIONS as readonly string[]).includes(condition)) {
      throw new HsuError('USAGE', `--for: '${condition}' is not one of ${CONDITIONS.join(', ')}`)
    }
    const timeoutMs = context.global.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const call: UnitCall = (client, unit, callOptions) =>
      client.waitUnit(
        { unit, condition, timeout: toDuration(timeoutMs) },
        { ...callOptions, timeoutMs: timeoutMs + ANSWER_MS },
      )
    return actOn(parseUnitNames(args, context), call, context)
  },
}
