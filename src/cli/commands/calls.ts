import type { Command, CommandContext } from '../command.ts'
import { CALL_KEYS, CALL_RECORD_KEYS, callRecordShape, callShapes } from '../call-shapes.ts'
import { callLine, callTable } from '../call-views.ts'
import { callOptions, readOptions, SCOPE_MESH, SCOPE_NODE } from '../control.ts'
import { flag, list } from '../options.ts'
import { noteUnreachable, oneNode } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

export const callsCommand: Command = {
  name: 'calls',
  summary: 'what calls go through the nodes: what was counted, or each as it ends',
  description: `Direct calls (xDS) do not go through the nodes. With -f, each call is shown once, where it came in; of one node, by --node
or UNIT@NODE, also those that came from other nodes.`,
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [
    { flags: '-f, --follow', summary: 'each call as it ends, until ^C' },
    { flags: '--failed', summary: 'only calls that did not end with OK; with -f' },
    { flags: '--unit <unit>', summary: 'as the argument UNIT', many: true },
  ],
  json: `[{${CALL_KEYS}}]
with -f one object a line: {${CALL_RECORD_KEYS}}`,
  examples: ['hsu calls', 'hsu calls -f --failed', 'hsu calls -f orders@edge-a -o json'],

  async run({ args, options }, context) {
    const { units, node } = oneNode([...args, ...list(options, 'unit')], context)
    if (!flag(options, 'follow')) return counted(units, context)
    const client = await context.client()
    const request = { units, failed: flag(options, 'failed'), scope: node === undefined ? SCOPE_MESH : SCOPE_NODE }
    for await (const { call, lost } of client.streamCalls(request, callOptions(context, { node }))) {
      if (call !== undefined) await context.output.line(callRecordShape(call), callLine)
      else context.output.note(`${lost} calls are not shown: there are too many`)
    }
    return undefined
  },
}

async function counted(units: readonly string[], context: CommandContext): Promise<undefined> {
  const client = await context.client()
  const { calls, unreachable } = await client.getCalls({ scope: SCOPE_MESH }, readOptions(context))
  noteUnreachable(unreachable, context)
  const wanted = calls.filter(({ unit }) => units.length === 0 || units.includes(unit))
  await context.output.print(callShapes(wanted), callTable)
  return undefined
}
