import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Detector } from './detector/detector.ts'
import type { Pace } from './detector/pace.ts'
import type { MeshEvent, SignedRecord } from './member.ts'
import type { Entry, Membership, MembershipListener, Reason } from './membership.ts'
import { isLive, type MemberStatus } from './merge.ts'
import type { Notices } from './notices.ts'
import type { Registry } from './registry/registry.ts'
import type { Self } from './self.ts'
import type { Transport } from './transport.ts'

/** What reactions act on. A function each where the thing is made later than the reactions. */
export interface ReactionSeams {
  readonly clock: Clock
  readonly log: Log
  readonly transport: Transport
  readonly registry: Registry
  readonly notices: Notices
  readonly self: Self
  readonly pace: Pace
  readonly membership: () => Membership
  readonly detector: () => Detector
}

/** How often two nodes of one identity are reported. */
const TWIN_REPORT_MS = 60_000

const EVENT_OF = {
  alive: 'member.alive',
  suspect: 'member.suspect',
  dead: 'member.dead',
  left: 'member.left',
} as const satisfies Record<MemberStatus, MeshEvent['type']>

/** What happens when the membership changes, all within the step in which it does. */
export function createReactions(seams: ReactionSeams): MembershipListener {
  const { log, transport, registry, notices, pace } = seams
  const warnIfNameTaken = createNameWatch(seams)

  return {
    onStatus({ member, signed }: Entry, before: MemberStatus | undefined, why: Reason) {
      const { nodeId, status } = member
      const { name } = signed.record
      if (status !== 'suspect') seams.detector().cleared(nodeId)
      if (!isLive(status)) registry.drop(nodeId)
      if (status === 'dead') pace.forget(nodeId)
      else if (before === 'dead') pace.renew(nodeId, seams.clock.nowMs())
      if (status !== 'suspect') transport.presume(nodeId, status === 'dead')
      // A refuted suspicion is worth a line for those who look closely, not more.
      const level = before === 'suspect' && status === 'alive' ? 'debug' : 'info'
      log[level](`member is ${status}`, { nodeId, name, incarnation: member.incarnation, ...why })
      notices.tell({ type: EVENT_OF[status], nodeId, name, ...why })
      notices.changed()
    },

    onSuspicion(entry) {
      seams.detector().suspected(entry)
    },

    onRecord({ member, signed }: Entry, before: Entry | undefined) {
      const { nodeId, startedIncarnation, meshAddresses } = signed.record
      const isNewRun = before !== undefined && before.signed.record.startedIncarnation !== startedIncarnation
      // What an earlier run registered is gone with it, unless this one goes on with that: it tells soon what it has.
      if (isNewRun && before.awayUntilMs <= seams.clock.nowMs()) registry.drop(nodeId)
      if (isLive(member.status)) transport.learn(nodeId, meshAddresses)
      warnIfNameTaken(signed)
      notices.changed()
    },

    onForgotten(nodeId) {
      pace.forget(nodeId)
      transport.forget(nodeId)
      notices.changed()
    },
  }
}

/** Names are for people, ids are the truth: two present members of one name are reported once. */
function createNameWatch({ log, notices, self, membership }: ReactionSeams): (signed: SignedRecord) => void {
  const reported = new Set<string>()
  return ({ record: { nodeId, name } }) => {
    const others = membership()
      .live()
      .map(({ signed }) => signed.record)
    const twin = [self.signed.record, ...others].find((other) => other.name === name && other.nodeId !== nodeId)
    if (twin === undefined) return
    const pair = [nodeId, twin.nodeId].sort().join(' ')
    if (reported.has(pair)) return
    if (reported.size >= 1_000) reported.clear()
    reported.add(pair)
    log.warn('two nodes have one name', { name, nodeId, otherNodeId: twin.nodeId })
    const reason = `another node of that name is ${twin.nodeId}`
    notices.tell({ type: 'mesh.name-conflict', nodeId, name, reason, cause: twin.nodeId })
  }
}

/** Reports, at most once a minute, that another node uses the identity of this one. */
export function createTwinReport(seams: Pick<ReactionSeams, 'clock' | 'log' | 'notices' | 'self'>) {
  const { clock, log, notices, self } = seams
  let saidAtMs: number | undefined
  return ({ record }: SignedRecord, peer: string): void => {
    if (saidAtMs !== undefined && clock.nowMs() - saidAtMs < TWIN_REPORT_MS) return
    saidAtMs = clock.nowMs()
    const own = whereabouts(self.signed)
    const other = whereabouts({ record })
    const { nodeId } = record
    log.error('two nodes use one identity; give each a data directory of its own', { nodeId, own, other })
    const reason = `this node at ${own} and another at ${other} use one identity`
    notices.tell({ type: 'mesh.identity-conflict', nodeId, name: record.name, reason, cause: peer })
  }
}

function whereabouts({ record }: Pick<SignedRecord, 'record'>): string {
  const addresses = [...record.linkAddresses, ...record.meshAddresses]
  return `${record.name} (${addresses.join(', ') || 'no address'})`
}
