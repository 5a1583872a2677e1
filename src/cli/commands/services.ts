import type { Command } from '../command.ts'
import { CALL_KEYS, callShapes } from '../call-shapes.ts'
import { callTable } from '../call-views.ts'
import { callOptions, readOptions, SCOPE_MESH } from '../control.ts'
import { flag } from '../options.ts'
import { noteUnreachable } from '../target.ts'
import { type ServiceShape, serviceShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { serviceTable } from '../views.ts'

export const servicesCommand: Command = {
  name: 'services',
  summary: 'list the gRPC services of the mesh and where they are served',
  args: [],
  options: [
    { flags: '-f, --follow', summary: 'go on with each change as it comes, until ^C' },
    { flags: '--calls', summary: 'also what went to each through the nodes, since they started; as -o wide' },
  ],
  json: `[{service, endpoints: [{unit, instance, node, address, ready, inFlight, version?, canary?: {share, headers}}]}]
with --calls, {services, calls: [{${CALL_KEYS}}]}
with -f one object a line: {services: [as above], removed: [SERVICE]}; the first has all of them, the others what changed`,
  examples: ['hsu services', 'hsu services -o wide', 'hsu services -f -o json'],

  async run({ options }, context) {
    const client = await context.client()
    if (!flag(options, 'follow')) {
      const { services } = await client.listServices({}, readOptions(context))
      if (context.global.wide || flag(options, 'calls')) {
        const counted = await client.getCalls({ scope: SCOPE_MESH }, readOptions(context))
        noteUnreachable(counted.unreachable, context)
        const shown = { services: services.map(serviceShape), calls: callShapes(counted.calls) }
        await context.output.print(shown, ({ services, calls }, style) =>
          [serviceTable(services, style), callTable(calls, style)].join('\n\n'),
        )
        return undefined
      }
      await context.output.print(services.map(serviceShape), serviceTable)
      return undefined
    }
    for await (const { services, removed } of client.watchServices({}, callOptions(context))) {
      await context.output.line({ services: services.map(serviceShape), removed }, changeView)
    }
    return undefined
  },
}

function changeView(
  { services, removed }: { readonly services: readonly ServiceShape[]; readonly removed: readonly string[] },
  style: Style,
): string {
  const gone = removed.map((service) => `${service} is offered by nobody any more`)
  return [...(services.length > 0 || gone.length === 0 ? [serviceTable(services, style)] : []), ...gone].join('\n')
}
