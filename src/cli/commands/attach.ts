import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { actionOptions } from '../control.ts'
import { FIND_OPTIONS, findOf } from '../find-options.ts'
import { flag } from '../options.ts'
import { parseUnitNames } from '../target.ts'
import { INSTANCES_JSON, instanceLines } from '../unit-action.ts'
import { unitShape } from '../shapes.ts'

/** The look takes a moment, and systemd may be asked. */
const ATTACH_TIMEOUT_MS = 15_000

export const attachCommand: Command = {
  name: 'attach',
  summary: 'watch a process that runs already as an unmanaged unit of the node',
  description:
    'The process is looked for at once: when there is none, or several, nothing is attached. From then on the unit is like ' +
    'one of the configuration with kind: unmanaged; it is found again when its process is replaced, and after a restart of ' +
    'the node. By pid, it is only ever that very process. Probes and limits need a unit in the configuration.',
  args: [{ name: 'name', summary: 'name of the new unit, or NAME@NODE', required: true }],
  options: [...FIND_OPTIONS, { flags: '--allow-signal', summary: 'people may send it signals: hsu signal, hsu kill' }],
  json: INSTANCES_JSON,
  examples: [
    'hsu attach pg --name postgres',
    'hsu attach cache --port tcp/6379 --allow-signal',
    'hsu attach ssh --service ssh.service',
  ],

  async run(input, context) {
    const [target] = parseUnitNames(input.args, context)
    if (target === undefined) throw new HsuError('USAGE', 'give the unit a name: hsu attach NAME --name postgres')
    const request = {
      unit: target.unit,
      find: findOf(input, context.cwd),
      allowSignal: flag(input.options, 'allowSignal'),
      // The pid of this command means nothing to another host.
      exceptPids: target.node === undefined ? [context.processes.ownPid] : [],
    }
    const client = await context.client()
    const aim = { node: target.node, timeoutMs: ATTACH_TIMEOUT_MS }
    const { instances } = await client.attachUnit(request, actionOptions(context, aim))
    await context.output.print(instances.map(unitShape), instanceLines)
    return undefined
  },
}
