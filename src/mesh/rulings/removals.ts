import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { MemberView, Removal } from '../member.ts'
import type { Membership } from '../membership.ts'
import type { Notices } from '../notices.ts'
import type { NodeRuling, SignedRuling } from './ruling.ts'
import type { Rulings } from './rulings.ts'

export interface RemovalSeams {
  readonly clock: Clock
  readonly log: Log
  readonly rulings: Rulings
  readonly notices: Notices
  /** This node's own id. */
  readonly self: string
  readonly membership: () => Membership
  /** Forgets, in this step, what a node registered and what is believed of it. */
  readonly drop: (nodeId: string) => void
  readonly disconnect: (nodeId: string) => void
  /** Spreads a ruling about a node; resolves when that node has heard it, or will not. */
  readonly tell: (signed: SignedRuling, about: string) => Promise<void>
}

/** Which nodes are kept out although they have the key, and what follows from it here. */
export interface Removals {
  /** Whether a peer may be connected; that a removed one tries is told once in a while. */
  admits(peer: string): boolean
  /** Carries out a ruling that somebody passed on. */
  carryOut(ruling: NodeRuling): void
  /** Rules that a node is kept out from now on. @throws HsuError USAGE for this node itself, LIMIT_EXCEEDED */
  remove(nodeId: string, actor: string): Promise<void>
  /** Rules that a removed node may be a member again. @throws HsuError NODE_NOT_FOUND when it is not removed */
  restore(nodeId: string, actor: string): Promise<void>
  /** How this node itself was removed, if it was. */
  ownRemoval(): Pick<MemberView, 'removal'>
  /** The removed nodes, as members that are no longer. */
  views(): readonly MemberView[]
}

/** How often it is told that a removed node tries to get in. */
const KNOCK_REPORT_MS = 3_600_000

export function createRemovals(seams: RemovalSeams): Removals {
  const { clock, log, rulings, notices, self, membership, drop, disconnect, tell } = seams
  const toldAtMs = new Map<string, number>()

  function reportKnock(peer: string): void {
    const before = toldAtMs.get(peer)
    if (before !== undefined && clock.nowMs() - before < KNOCK_REPORT_MS) return
    // There are no more than there are rulings.
    toldAtMs.set(peer, clock.nowMs())
    const name = nameOf(peer)
    log.warn('a node that was removed from the mesh tries to connect', { nodeId: peer, name })
    notices.tell({ type: 'mesh.refused', nodeId: peer, name, reason: 'it was removed from the mesh', cause: peer })
  }

  const nameOf = (nodeId: string): string =>
    membership().get(nodeId)?.signed.record.name ?? rulings.removals().find((one) => one.nodeId === nodeId)?.name ?? ''

  function apply({ nodeId, name, removed, issuer, actor }: NodeRuling): void {
    if (removed && nodeId !== self) drop(nodeId)
    if (!removed) toldAtMs.delete(nodeId)
    const facts = { nodeId, name, issuer, actor }
    if (nodeId === self && removed) {
      const advice = 'hsu mesh restore on another node lets it in again'
      log.error(`this node was removed from the mesh: the others talk to it no more; ${advice}`, facts)
    } else log.info(removed ? 'node is removed from the mesh' : 'node may be a member again', facts)
    const type = removed ? 'member.removed' : 'member.restored'
    notices.tell({ type, nodeId, name, reason: `by ${actor}`, cause: issuer })
    notices.changed()
  }

  async function rule(nodeId: string, removed: boolean, actor: string): Promise<void> {
    const verdict = { kind: 'node', nodeId, removed, name: nameOf(nodeId) } as const
    const { signed, saved } = rulings.issue(verdict, actor)
    if (signed.ruling.kind === 'node') apply(signed.ruling)
    await saved
    await tell(signed, nodeId)
    if (removed) disconnect(nodeId)
  }

  return {
    carryOut(ruling) {
      apply(ruling)
      if (ruling.removed && ruling.nodeId !== self) disconnect(ruling.nodeId)
    },
    admits(peer) {
      if (!rulings.isRemoved(peer)) return true
      reportKnock(peer)
      return false
    },
    async remove(nodeId, actor) {
      if (nodeId === self) {
        throw new HsuError('USAGE', 'a node cannot remove itself from the mesh; ask another node to, or use hsu down')
      }
      return rule(nodeId, true, actor)
    },
    async restore(nodeId, actor) {
      if (!rulings.isRemoved(nodeId)) {
        const details = { nodeId }
        throw new HsuError('NODE_NOT_FOUND', `no node ${nodeId} was removed; hsu nodes shows those that were`, {
          details,
        })
      }
      return rule(nodeId, false, actor)
    },
    ownRemoval() {
      const ruling = rulings.removals().find(({ nodeId }) => nodeId === self)
      return ruling === undefined ? {} : { removal: removalOf(ruling) }
    },
    views: () =>
      rulings.removals().flatMap((ruling) => {
        const { nodeId } = ruling
        const view = { nodeId, status: 'removed', incarnation: 0, record: undefined, self: false } as const
        return nodeId === self ? [] : [{ ...view, removal: removalOf(ruling) }]
      }),
  }
}

function removalOf({ name, issuer, actor, issuedMs }: NodeRuling): Removal {
  return { name, by: issuer, actor, atMs: issuedMs }
}
