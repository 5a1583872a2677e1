import type { Command } from '../command.ts'
import { parseUnitNames } from '../target.ts'
import { actOn, INSTANCES_JSON, UNITS_ARGUMENT } from '../unit-action.ts'

export const signalCommand: Command = {
  name: 'signal',
  summary: 'send a signal, such as HUP or USR1, to the processes of units',
  description: 'An unmanaged unit gets a signal only when its configuration says `allow: { signal: true }`.',
  args: [{ name: 'signal', summary: 'name of the signal, with or without SIG', required: true }, UNITS_ARGUMENT],
  options: [],
  json: INSTANCES_JSON,
  examples: ['hsu signal HUP nginx', 'hsu signal USR1 api@edge-b'],

  run({ args: [signal = '', ...units] }, context) {
    const call = (...[client, unit, options]: Parameters<Parameters<typeof actOn>[1]>) =>
      client.signalUnit({ unit, signal }, options)
    return actOn(parseUnitNames(units, context), call, context)
  },
}
