import type { Command } from '../command.ts'
import { readOptions } from '../control.ts'
import { serviceShape } from '../shapes.ts'
import { serviceTable } from '../views.ts'

export const servicesCommand: Command = {
  name: 'services',
  summary: 'list the gRPC services of the mesh and where they are served',
  args: [],
  options: [],
  json: '[{service, endpoints: [{unit, instance, node, address, ready, inFlight}]}]',

  async run(_input, context) {
    const { services } = await (await context.client()).listServices({}, readOptions(context))
    await context.output.print(services.map(serviceShape), serviceTable)
    return undefined
  },
}
