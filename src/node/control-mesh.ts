import { HsuError } from '../base/error.ts'
import { parseDurationMs } from '../base/quantity.ts'
import type { MemberView, Mesh } from '../mesh/index.ts'
import type { CallContext, CreateInviteRequest, RotateMeshKeyRequest } from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import { formatInvite } from './invite/invite-code.ts'
import type { NodeCore } from './node-core.ts'
import { fromDuration, toNode, toTimestamp } from './to-proto.ts'

/** How long the key before is accepted unless told: whoever is away for less than a day gets the new one. */
const OVERLAP_MS = parseDurationMs('1d') as number

/** How long an invitation is good unless told, and at most. */
const TTL_MS = parseDurationMs('10m') as number
const MAX_TTL_MS = parseDurationMs('1d') as number
const MAX_USES = 1_000

/** How many addresses a code has: each makes it eleven digits longer. */
const MAX_PLACES = 2

/** Less would lose members whose next sync comes late. */
const MIN_OVERLAP_MS = 10_000
const MAX_OVERLAP_MS = parseDurationMs('30d') as number

/** The part of the control API that is about who may be in the mesh. */
export function meshHandlers(core: NodeCore) {
  const nameOfId = (nodeId: string): string =>
    nameOf(core.world.members().find((one) => one.nodeId === nodeId)) ?? nodeId
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
    async getMeshKeys() {
      const { keys, holders, others } = meshOf(core).keys()
      return {
        keys: keys.map(({ fingerprint, sinceMs, untilMs }) => {
          return {
            fingerprint,
            since: toTimestamp(sinceMs),
            ...(untilMs !== undefined && { until: toTimestamp(untilMs) }),
          }
        }),
        file: core.info.meshKeyFile ?? '',
        holders: holders.map(nameOfId),
        others: others.map(nameOfId),
      }
    },
    async createInvite({ ttl, uses }: CreateInviteRequest, context: CallContext) {
      return createInvite(core, ttl === undefined ? TTL_MS : fromDuration(ttl), uses || 1, askerOf(context).actor)
    },
    async rotateMeshKey({ overlap }: RotateMeshKeyRequest, context: CallContext) {
      const overlapMs = overlap === undefined ? OVERLAP_MS : fromDuration(overlap)
      if (overlapMs < MIN_OVERLAP_MS || overlapMs > MAX_OVERLAP_MS) {
        throw new HsuError('USAGE', 'the overlap must be from 10 seconds to 30 days')
      }
      const { fingerprint, holders } = await meshOf(core).rotateKey(overlapMs, askerOf(context).actor)
      return { fingerprint, holders: holders.map(nameOfId) }
    },
  }
}

/** @throws HsuError USAGE for a time or a number out of bounds; NOT_STARTED without a mesh */
function createInvite(core: NodeCore, ttlMs: number, uses: number, actor: string) {
  meshOf(core)
  if (ttlMs < 1_000 || ttlMs > MAX_TTL_MS) throw new HsuError('USAGE', 'an invitation is good for 1 second to 1 day')
  if (uses > MAX_USES) throw new HsuError('USAGE', `an invitation is good for at most ${MAX_USES} hosts`)
  const known = core.self().record?.linkAddresses ?? []
  const v4 = known.filter((address) => !address.startsWith('['))
  const addresses = (v4.length > 0 ? v4 : known).slice(0, MAX_PLACES)
  const { secret } = core.invites.create(ttlMs, uses)
  core.log.info('invitation made', { actor, ttlMs, uses })
  const expiresAt = toTimestamp(core.clock.wallMs() + ttlMs)
  return { code: formatInvite({ secret, addresses }), expiresAt, addresses }
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

function nameOf(member: MemberView | undefined): string | undefined {
  return member?.record?.name ?? member?.removal?.name
}
