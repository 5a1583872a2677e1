import { messageOf } from '../base/error.ts'
import { createTaskGroup, type TaskGroup } from '../base/task-group.ts'
import { type Announcer, createAnnouncer } from './announcer.ts'
import { createAnswers } from './answers.ts'
import type { MeshNodeConfig, MeshSeams } from './api.ts'
import { createAwareness } from './detector/awareness.ts'
import { Detector } from './detector/detector.ts'
import { createPace } from './detector/pace.ts'
import { createPinger } from './detector/pinger.ts'
import { createStalls, UNWATCHED } from './detector/stalls.ts'
import { createFlush, type Flush } from './flush.ts'
import { createRefusals, type Refusals } from './gossip/refusals.ts'
import { holderProof } from './keys/holder-proof.ts'
import { createRotation, type Rotation } from './keys/rotation.ts'
import type { Life } from './life.ts'
import type { NodeRecord, Rumour, SignedRecord } from './member.ts'
import { Membership } from './membership.ts'
import { createNotices, type Notices } from './notices.ts'
import { createReactions, createTwinReport } from './reactions.ts'
import { Registry } from './registry/registry.ts'
import { signSectionBytes } from './registry/signed-section.ts'
import { createRemovals, type Removals } from './rulings/removals.ts'
import { Rulings } from './rulings/rulings.ts'
import { Self } from './self.ts'
import { createSync } from './sync.ts'
import { createUpkeep, type Upkeep } from './upkeep.ts'
import { View, type ViewListener } from './view.ts'

/** What one node's end of the mesh is made of. */
export interface MeshParts {
  readonly life: Life
  readonly tasks: TaskGroup
  readonly self: Self
  readonly registry: Registry
  readonly membership: Membership
  readonly notices: Notices
  readonly rulings: Rulings
  readonly removals: Removals
  readonly rotation: Rotation
  readonly view: View
  readonly flush: Flush
  readonly detector: Detector
  readonly announcer: Announcer
  readonly upkeep: Upkeep
  readonly refusals: Refusals
  readonly answer: ReturnType<typeof createAnswers>
}

/** Puts the parts together. They know each other in circles, so that some are handed over as functions. */
export function createParts(seams: MeshSeams, config: MeshNodeConfig): MeshParts {
  const { clock, random, log, identity, transport, loop = UNWATCHED } = seams
  const timing = config
  const nodeId = identity.nodeId
  const life: Life = { phase: 'idle' }
  const failed = (error: unknown): void => log.error('mesh task failed', { cause: messageOf(error) })
  const tasks = createTaskGroup(failed)
  const notices = createNotices(failed)
  const awareness = createAwareness()
  const pace = createPace(timing.pingTimeoutMs)
  const keyProofs = (): string[] => (seams.keys?.inForce() ?? []).map((key) => holderProof(key, nodeId))
  const self = new Self(seams, { ...config, meshAddresses: transport.addresses, keyProofs })
  const registry = new Registry(nodeId, (bytes) => signSectionBytes(identity, bytes))
  const rulings = new Rulings(seams)
  const base = { clock, random, log, transport, self, registry, notices, rulings, awareness, pace, tasks, life }
  const reactions = createReactions({ ...base, membership: () => membership, detector: () => detector })
  const membership = new Membership(
    { clock, listener: reactions, paceOf: (peer) => pace.of(peer) },
    { timing, self: nodeId },
  )
  const removals: Removals = createRemovals({
    ...{ ...base, self: nodeId, membership: () => membership },
    drop(gone) {
      detector.cleared(gone)
      registry.drop(gone)
      membership.drop(gone)
      transport.forget(gone)
    },
    disconnect: (gone) => transport.disconnect(gone),
    tell: (signed, about) => announcer.ruling(signed, about),
  })
  const refusals = createRefusals(seams, (peer, reason) => {
    const name = membership.get(peer)?.signed.record.name ?? ''
    notices.tell({ type: 'mesh.refused', nodeId: peer, name, reason, cause: peer })
  })
  const view: View = new View({ self, registry, rulings, membership, listener: viewListener(() => parts, seams) })
  const answered = (peer: string, ms: number): void => detector.answered(peer, ms)
  const sync = createSync({ ...base, view, answered }, timing)
  const flush = createFlush({ ...base, membership, view, sync })
  const announcer: Announcer = createAnnouncer({ ...base, view, sync }, timing)
  const pinger = createPinger({ ...base, membership, view, answered, ending: tasks.signal }, timing)
  const stalls = createStalls(clock, loop)
  const judging = {
    ...base,
    self: nodeId,
    membership,
    pinger,
    stalls,
    spread: (rumour: Rumour) => announcer.spread(rumour),
  }
  const detector: Detector = new Detector(judging, timing)
  const rotation: Rotation = createRotation({
    ...{ ...base, self: nodeId, ring: seams.keys },
    others: () => knownRecords(membership),
    connected: () => transport.connected(),
    disconnect: (peer) => transport.disconnect(peer),
    ask: (peer, fingerprint, signal) => sync.askKey(peer, fingerprint, signal),
    tell: (signed) => announcer.ruling(signed, ''),
    changed: () => announcer.record(),
  })
  const chores = async (signal: AbortSignal): Promise<void> => {
    membership.expire()
    await rotation.upkeep(signal)
    announcer.record()
  }
  const heardFrom = (peer: string): void => detector.heardFrom(peer)
  const upkeep = createUpkeep({ ...base, sync, heardFrom, chores }, timing)
  const answer = createAnswers({ self, view, rulings, pinger, refusals, keyFor: rotation.keyFor })
  const parts: MeshParts = {
    ...{ life, tasks, self, registry, membership, notices, rulings, removals, rotation, view, flush, detector },
    ...{ announcer, upkeep, refusals, answer },
  }
  return parts
}

/** What follows from what others say. */
function viewListener(parts: () => MeshParts, seams: MeshSeams): ViewListener {
  let reportTwin: ((signed: SignedRecord, peer: string) => void) | undefined
  return {
    onAccused: ({ incarnation }) => parts().announcer.refute(incarnation),
    onTwin(signed, peer) {
      const { self, notices, announcer } = parts()
      reportTwin ??= createTwinReport({ ...seams, notices, self })
      if (self.hasWritten(signed.record)) seams.log.warn('an earlier run of this node was ahead of it', { peer })
      else reportTwin(signed, peer)
      announcer.refute(signed.record.incarnation)
    },
    onSections: () => parts().notices.changed(),
    onBehind(owner, peer) {
      const { tasks, upkeep } = parts()
      tasks.run((signal) => upkeep.pull(peer, owner, signal))
    },
    onOwnSection: (section, peer) => parts().announcer.outbid(section, peer),
    onRuling({ ruling }) {
      const { removals, tasks, rotation } = parts()
      if (ruling.kind === 'node') removals.carryOut(ruling)
      else tasks.run((signal) => rotation.upkeep(signal))
    },
    onRefused: (peer, why) => parts().refusals.note(peer, why),
  }
}

/** Of all members but this one, the present first. */
function knownRecords(membership: Membership): NodeRecord[] {
  const [present, gone] = [membership.live(), membership.entries()]
  return [...new Set([...present, ...gone])].map(({ signed }) => signed.record)
}
