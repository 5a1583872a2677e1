import type { Command } from '../command.ts'
import { readOptions } from '../control.ts'
import { nodeShape } from '../shapes.ts'
import { nodeTable } from '../views.ts'

export const nodesCommand: Command = {
  name: 'nodes',
  summary: 'list the nodes of the mesh as this node sees them',
  args: [],
  options: [],
  json: `[{node, id, status, incarnation, addresses: [], labels: {}, version, units, self}]
status alive, suspect, dead, left or removed`,

  async run(_input, context) {
    const { nodes } = await (await context.client()).listNodes({}, readOptions(context))
    await context.output.print(nodes.map(nodeShape), nodeTable)
    return undefined
  },
}
