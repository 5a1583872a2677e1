import { withSignal } from '../../base/abort.ts'
import { TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Command, CommandContext } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions, type ControlClient, readOptions } from '../control.ts'
import { flag } from '../options.ts'

/** How often it is looked whether the node is still there. */
const LOOK_EVERY_MS = 50

export const downCommand: Command = {
  name: 'down',
  summary: 'stop the node: it leaves the mesh, stops its units and exits',
  description:
    'Returns when the node has gone. With --node, stops that node instead of the one on this host. ' +
    'With --keep-units the units run on without a node, and the next `hsu up` takes them over.',
  args: [],
  options: [{ flags: '--keep-units', summary: 'leave the units running, for the next node to take over' }],
  examples: ['hsu down', 'hsu down --keep-units && hsu up -d'],

  async run({ options }, context) {
    const keepUnits = flag(options, 'keepUnits')
    const client = await context.client()
    const { node, pid } = await client.getNode({}, readOptions(context))
    const timeoutMs = context.global.timeoutMs ?? ACTION_TIMEOUT_MS
    await client.shutdown({ keepUnits }, actionOptions(context, { timeoutMs }))
    const gone = await withSignal(context.signal, (signal) => {
      const here = context.global.node === undefined
      const ended = here ? async () => !context.processes.isAlive(pid) : () => hasLeft(client, context)
      return within(context.clock, timeoutMs, until(ended, context, signal))
    })
    const name = node?.node ?? ''
    if (gone === TIMED_OUT)
      throw new HsuError('TIMED_OUT', `node ${name} (pid ${pid}) has not stopped yet; it goes on stopping`)
    context.output.note(`node ${name} has stopped${keepUnits ? '; its units run on' : ''}`)
    return undefined
  },
}

async function until(condition: () => Promise<boolean>, { clock }: CommandContext, signal: AbortSignal): Promise<void> {
  while (!(await condition())) await clock.sleep(LOOK_EVERY_MS, signal)
}

/** Whether another host's node no longer answers. */
async function hasLeft(client: ControlClient, context: CommandContext): Promise<boolean> {
  const answer = await client.getNode({}, readOptions(context)).catch((error: unknown) => HsuError.from(error))
  context.signal.throwIfAborted()
  return answer instanceof HsuError
}
