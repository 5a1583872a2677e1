import { HsuError } from '../base/error.ts'
import type { MemberView, Mesh } from '../mesh/index.ts'
import type { CallContext } from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import type { NodeCore } from './node-core.ts'
import { toNode } from './to-proto.ts'

/** The part of the control API that is about who may be in the mesh. */
export function meshHandlers(core: NodeCore) {
  const viewOf = (nodeId: string) => {
    const view = core.world.members().find((member) => member.nodeId === nodeId)
    return view === undefined ? {} : { node: toNode(view, core.world.registrationsOf(nodeId).length) }
  }
  return {
    async removeNode({ node }: { node: string }, context: CallContext) {
      const mesh = meshOf(core)
      const nodeId = idOf(core, node, ({ removal }) => removal === undefined)
      await mesh.remove(nodeId, askerOf(context).actor)
      return viewOf(nodeId)
    },
    async restoreNode({ node }: { node: string }, context: CallContext) {
      const mesh = meshOf(core)
      const nodeId = idOf(core, node, ({ removal }) => removal !== undefined)
      const known = viewOf(nodeId)
      await mesh.restore(nodeId, askerOf(context).actor)
      return known
    },
  }
}

/** @throws HsuError NOT_STARTED for a node without a mesh, or before it joined */
function meshOf({ mesh, info }: NodeCore): Mesh {
  const current = mesh.current()
  if (current !== undefined) return current
  const why = info.mesh === undefined ? 'has no mesh' : 'is not in the mesh yet'
  throw new HsuError('NOT_STARTED', `node ${info.name} ${why}`, { details: { node: info.name } })
}

/**
 * The id of a node by its name or id, gone ones included: among those that are `meant` if there are any.
 *
 * @throws HsuError NODE_NOT_FOUND, USAGE when several nodes have that name
 */
function idOf({ world }: NodeCore, nameOrId: string, meant: (member: MemberView) => boolean): string {
  const all = world.members().filter((member) => member.nodeId === nameOrId || nameOf(member) === nameOrId)
  const wanted = all.filter(meant)
  const ids = [...new Set((wanted.length > 0 ? wanted : all).map(({ nodeId }) => nodeId))]
  if (ids.length === 1) return ids[0] as string
  const details = { node: nameOrId }
  if (ids.length > 1) {
    throw new HsuError('USAGE', `several nodes are called '${nameOrId}'; use an id: ${ids.join(', ')}`, { details })
  }
  throw new HsuError('NODE_NOT_FOUND', `no node '${nameOrId}' is known; hsu nodes lists them`, { details })
}

function nameOf({ record, removal }: MemberView): string | undefined {
  return record?.name ?? removal?.name
}
