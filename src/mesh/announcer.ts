import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { TaskGroup } from '../base/task-group.ts'
import type { MeshTiming } from './config.ts'
import type { Awareness } from './detector/awareness.ts'
import { EMPTY_BATCH, encodeBroadcast } from './gossip/codec.ts'
import { isUp, type Life } from './life.ts'
import type { Batch, Rumour, Section } from './member.ts'
import type { Notices } from './notices.ts'
import type { Registry } from './registry/registry.ts'
import type { SignedRuling } from './rulings/ruling.ts'
import type { Self } from './self.ts'
import type { Sync } from './sync.ts'
import type { Transport } from './transport.ts'
import type { View } from './view.ts'

export interface AnnouncerSeams {
  readonly clock: Clock
  readonly log: Log
  readonly transport: Transport
  readonly self: Self
  readonly registry: Registry
  readonly view: View
  readonly sync: Sync
  readonly notices: Notices
  readonly awareness: Awareness
  readonly tasks: TaskGroup
  readonly life: Life
}

/** Tells the others what is new of this node, or what it found out. */
export interface Announcer {
  /** Spreads what this node found out of a member. */
  spread(rumour: Rumour): void
  /** What this node registers has changed. Several changes of one turn are one message. */
  section(): void
  /** Its addresses, certificate or keys may have changed: if so, all are told. */
  record(): void
  /** Answers bad news of this node, of that incarnation. */
  refute(incarnation: number): void
  /** Heals a section of this node that it did not write; a peer that is passed over now comes again with its sync. */
  outbid(section: Section, peer: string): void
  /** Tells all, and above all the node that it is about: the others will soon talk to it no more. */
  ruling(signed: SignedRuling, about: string): Promise<void>
  /** Says that this node goes on in another process within `awayMs`: resolves when all have heard it, or have had the time to. */
  absence(awayMs: number): Promise<void>
  /** Takes leave: resolves when all have heard it, or have had the time to. */
  farewell(): Promise<void>
}

/** How often this node outbids, at most, what others hold as its section: each time is a message to everybody. */
const OUTBID_REST_MS = 1_000

export function createAnnouncer(seams: AnnouncerSeams, timing: MeshTiming): Announcer {
  const { clock, log, transport, self, registry, view, sync, notices, tasks, life } = seams
  let isSectionDue = false
  let outbidAtMs = -Infinity

  function broadcast(batch: Partial<Batch>): void {
    if (isUp(life)) transport.broadcast(encodeBroadcast({ ...EMPTY_BATCH, ...batch }))
  }

  function sendSection(): void {
    isSectionDue = false
    if (!isUp(life)) return
    const news = registry.news()
    const isChangeEnough = 'delta' in news && view.allTakeDeltas()
    broadcast(isChangeEnough ? { deltas: [news.delta] } : { sections: [registry.own] })
    registry.markTold()
  }

  function announceSection(): void {
    if (isSectionDue) return
    isSectionDue = true
    void Promise.resolve().then(sendSection)
  }

  async function sendTo(peers: readonly string[], batch: Batch): Promise<boolean> {
    const told = peers.map((peer) => sync.push(peer, batch, tasks.signal).catch(() => undefined))
    return (await within(clock, timing.leaveTimeoutMs, Promise.all(told))) !== TIMED_OUT
  }

  return {
    spread: (rumour) => broadcast({ rumours: [rumour] }),
    section: announceSection,
    record() {
      if (!self.refresh()) return
      broadcast({ records: [self.signed] })
      notices.changed()
    },
    refute(incarnation) {
      if (life.phase !== 'running') return
      self.refute(incarnation, () => {
        // Whoever is suspected may well be slow itself (Lifeguard).
        seams.awareness.note(1)
        log.debug('rumour about this node refuted', { incarnation: self.incarnation })
        broadcast({ records: [self.signed] })
        notices.changed()
      })
    },
    outbid(section, peer) {
      if (clock.nowMs() - outbidAtMs < OUTBID_REST_MS || !registry.outbid(section)) return
      outbidAtMs = clock.nowMs()
      log.warn('others held what this node does not register; outbid', { peer, version: section.version })
      announceSection()
    },
    async ruling(signed, about) {
      broadcast({ rulings: [signed] })
      if (transport.connected().includes(about)) await sendTo([about], { ...EMPTY_BATCH, rulings: [signed] })
    },
    async absence(awayMs) {
      self.goAway(awayMs)
      const peers = transport.connected()
      broadcast({ records: [self.signed] })
      await sendTo(peers, { ...EMPTY_BATCH, records: [self.signed] })
    },
    async farewell() {
      const { nodeId, incarnation } = self
      view.selfStatus = 'left'
      const rumour: Rumour = { nodeId, status: 'left', incarnation, from: nodeId, linkLost: false }
      const peers = transport.connected()
      broadcast({ rumours: [rumour] })
      const haveHeard = await sendTo(peers, { ...EMPTY_BATCH, rumours: [rumour] })
      if (!haveHeard) log.debug('left without hearing from all', { peers: peers.length })
    },
  }
}
