import type { Command } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions } from '../control.ts'
import { nodeShape } from '../shapes.ts'

export const meshRemoveCommand: Command = {
  name: 'mesh remove',
  summary: 'keep a node out of the mesh, although it has the mesh key',
  description:
    'All members refuse its connections and calls and drop what it registered, also after restarts, until `hsu mesh restore`. Whoever has the mesh key can still join under another identity: after a theft, replace the key too, with `hsu mesh key rotate`, which the removed node does not get.',
  args: [{ name: 'node', summary: 'name or id', required: true }],
  options: [],
  json: '{node, id, status, ...} as of `hsu nodes`',
  examples: ['hsu mesh remove edge-c'],

  async run({ args: [node = ''] }, context) {
    const client = await context.client()
    const { node: removed } = await client.removeNode(
      { node },
      actionOptions(context, { node: context.global.node, timeoutMs: ACTION_TIMEOUT_MS }),
    )
    const advice = 'it still has the mesh key: `hsu mesh key rotate` makes a new one, which it does not get'
    await context.output.print(
      removed === undefined ? { node } : nodeShape(removed),
      (shape) => `${shape.node} is removed from the mesh; ${advice}`,
    )
    return undefined
  },
}

export const meshRestoreCommand: Command = {
  name: 'mesh restore',
  summary: 'let a removed node be a member again',
  args: [{ name: 'node', summary: 'name or id', required: true }],
  options: [],
  json: '{node, id, status, ...} as of `hsu nodes`, before it is back',
  examples: ['hsu mesh restore edge-c'],

  async run({ args: [node = ''] }, context) {
    const client = await context.client()
    const { node: restored } = await client.restoreNode(
      { node },
      actionOptions(context, { node: context.global.node, timeoutMs: ACTION_TIMEOUT_MS }),
    )
    await context.output.print(
      restored === undefined ? { node } : nodeShape(restored),
      (shape) => `${shape.node} may be a member again; it comes back by itself when it runs and has the mesh key`,
    )
    return undefined
  },
}
