import { TIMED_OUT, type Clock, within } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { every } from '../base/every.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup, type TaskGroup } from '../base/task-group.ts'
import type { Topic } from '../base/topic.ts'
import { createAnswers } from './answers.ts'
import type { MeshTiming } from './config.ts'
import { type Awareness, createAwareness } from './detector/awareness.ts'
import { Detector } from './detector/detector.ts'
import { createPinger } from './detector/pinger.ts'
import { createStalls, type LoopWatch, UNWATCHED } from './detector/stalls.ts'
import { createFlush, type Flush } from './flush.ts'
import { decodeBroadcast, EMPTY_BATCH, encodeBroadcast } from './gossip/codec.ts'
import { sectionBytes, sectionFromProto, sectionToProto } from './gossip/items.ts'
import { createRefusals, type Refusals } from './gossip/refusals.ts'
import type { Identity } from './identity.ts'
import { holderProof } from './keys/holder-proof.ts'
import type { KeyRing } from './keys/key-ring.ts'
import { createRotation, type KeyReport, type Rotation } from './keys/rotation.ts'
import { MAX_SECTION_BYTES } from './limits.ts'
import type { Batch, MemberView, MeshEvent, NodeRecord, Registration, Rumour, Section } from './member.ts'
import { Membership } from './membership.ts'
import { createNotices, type Notices } from './notices.ts'
import { createReactions, createTwinReport } from './reactions.ts'
import { Registry } from './registry/registry.ts'
import { signSection } from './registry/signed-section.ts'
import { createRemovals, type Removals } from './rulings/removals.ts'
import type { SignedRuling } from './rulings/ruling.ts'
import { Rulings } from './rulings/rulings.ts'
import { Self } from './self.ts'
import { createSync, type Sync } from './sync.ts'
import type { DiscoveryWay, Transport } from './transport.ts'
import { View } from './view.ts'

/** Who is here, and what do they offer. */
export interface Mesh extends Service {
  readonly nodeId: string
  /** This node first, then the others by name; those who died or left are shown for a while. Empty before `start`. */
  members(): readonly MemberView[]
  /** What each present member registers, by node id; only of alive and suspect members, this node included. */
  registrations(): ReadonlyMap<string, readonly Registration[]>
  /**
   * Replaces what this node registers, and tells the others at once if that changed it. May be called before `start`.
   *
   * @throws HsuError LIMIT_EXCEEDED for more than 1,000 registrations, more than 256 KiB, or a text above 256 characters.
   */
  publish(registrations: readonly Registration[]): void
  /** Members or registrations changed; at most once a turn. */
  readonly changes: Topic<void>
  readonly events: Topic<MeshEvent>
  /** Resolves when all present members have acknowledged what this node registers now, or after `timeoutMs`. */
  flushed(timeoutMs: number): Promise<void>
  /** How other nodes are being found, for people. */
  ways(): readonly DiscoveryWay[]
  /**
   * Keeps a node out of the mesh from now on, although it has the key: its connections are refused and what it says is
   * dropped, by every member and over restarts. Resolves when this is on the disk here and the others are being told.
   *
   * @throws HsuError USAGE for this node itself, LIMIT_EXCEEDED when there are too many removed nodes
   */
  remove(nodeId: string, actor: string): Promise<void>
  /** Lets a removed node be a member again. @throws HsuError NODE_NOT_FOUND when it is not removed */
  restore(nodeId: string, actor: string): Promise<void>
  /**
   * Replaces the mesh key: the new one goes to all members, present and remembered, save the removed; those before it are
   * accepted for `overlapMs` more. Returns its fingerprint and the node ids of those who may have it.
   *
   * @throws HsuError USAGE while a key is being replaced already
   */
  rotateKey(overlapMs: number, actor: string): Promise<{ fingerprint: string; holders: readonly string[] }>
  /** The mesh keys of this node, newest first: secret. */
  heldKeys(): readonly Uint8Array[]
  /** The mesh keys of this node by their fingerprints, and who has the newest. */
  keys(): KeyReport
  /** Ends without taking leave: this node is about to go on in another process. What is known stays readable. */
  suspend(): Promise<void>
}

export interface MeshSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  readonly identity: Identity
  /** The mesh keys of this node; left out where the transport needs none. */
  readonly keys?: KeyRing
  /** Started and stopped by the mesh. */
  readonly transport: Transport
  /** Whether this process comes to its work; stopped by the mesh. Left out: only the lateness of what the mesh does tells. */
  readonly loop?: LoopWatch
}

export interface MeshNodeConfig extends MeshTiming {
  /** Name of the node, for people. */
  readonly name: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  /** `host:port` of the link port, best first; asked again every few seconds. */
  readonly linkAddresses: () => readonly string[]
  /** SHA-256 of the link certificate as 64 hex digits; empty when there is none. */
  readonly linkFingerprint: string
}

/** How often this node outbids, at most, what others hold as its section: each time is a message to everybody. */
const OUTBID_REST_MS = 1_000

/** Makes this node's end of the mesh. `stop()` leaves politely: the others drop what this node registered at once. */
export function createMesh(seams: MeshSeams, config: MeshNodeConfig): Mesh {
  return new MeshNode(seams, config)
}

class MeshNode implements Mesh {
  readonly name = 'mesh'
  readonly nodeId: string
  readonly #seams: MeshSeams
  readonly #config: MeshNodeConfig
  readonly #self: Self
  readonly #registry: Registry
  readonly #membership: Membership
  readonly #notices: Notices
  readonly #refusals: Refusals
  readonly #rulings: Rulings
  readonly #removals: Removals
  readonly #rotation: Rotation
  readonly #view: View
  readonly #sync: Sync
  readonly #flush: Flush
  readonly #tasks: TaskGroup
  readonly #detector: Detector
  readonly #awareness: Awareness
  readonly #syncing = new Set<string>()
  #phase: 'idle' | 'running' | 'leaving' | 'stopped' = 'idle'
  #publishing = false
  #outbidAtMs = -Infinity

  constructor(seams: MeshSeams, config: MeshNodeConfig) {
    const { clock, random, log, identity, transport, loop = UNWATCHED } = seams
    const timing: MeshTiming = config
    const nodeId = identity.nodeId
    const failed = (error: unknown): void => log.error('mesh task failed', { cause: messageOf(error) })
    const awareness = createAwareness()
    const keyProofs = (): string[] => (seams.keys?.inForce() ?? []).map((key) => holderProof(key, nodeId))
    const self = new Self(seams, { ...config, meshAddresses: transport.addresses, keyProofs })
    const registry = new Registry(nodeId, (section) => signSection(identity, section))
    const notices = createNotices(failed)
    const reactions = createReactions({
      clock,
      log,
      transport,
      registry,
      notices,
      self,
      membership: () => this.#membership,
      detector: () => this.#detector,
    })
    this.nodeId = nodeId
    this.#seams = seams
    this.#config = config
    this.#self = self
    this.#registry = registry
    this.#notices = notices
    this.#tasks = createTaskGroup(failed)
    this.#refusals = createRefusals(seams, (peer, reason) => this.#tellRefused(peer, reason))
    this.#membership = new Membership({ clock, listener: reactions }, { timing, self: nodeId })
    const rulings = new Rulings(seams)
    this.#rulings = rulings
    this.#removals = createRemovals({
      ...{ clock, log, rulings, notices, self: nodeId },
      membership: () => this.#membership,
      drop: (gone) => this.#drop(gone),
      disconnect: (gone) => transport.disconnect(gone),
      tell: (signed, about) => this.#tellRuling(signed, about),
    })
    this.#view = new View({ self, registry, rulings, membership: this.#membership, listener: this.#viewListener() })
    const { membership, view } = { membership: this.#membership, view: this.#view }
    this.#sync = createSync({ clock, transport, view, self, rulings }, timing)
    this.#flush = createFlush({ clock, transport, membership, registry, view, sync: this.#sync })
    const pinging = { clock, random, transport, membership, view, awareness }
    const pinger = createPinger(pinging, timing)
    const spread = (rumour: Rumour): void => this.#broadcast({ records: [], rumours: [rumour], sections: [] })
    const stalls = createStalls(clock, loop)
    const judging = { self: nodeId, pinger, stalls, tasks: this.#tasks, spread }
    this.#detector = new Detector({ clock, random, membership, awareness, ...judging }, timing)
    this.#awareness = awareness
    this.#rotation = createRotation({
      ...{ clock, log, rulings, notices, ring: seams.keys, self: nodeId },
      others: () => this.#knownRecords(),
      connected: () => transport.connected(),
      disconnect: (peer) => transport.disconnect(peer),
      ask: (peer, fingerprint, signal) => this.#sync.askKey(peer, fingerprint, signal),
      tell: (signed) => this.#tellRuling(signed, ''),
      changed: () => this.#announceAddresses(),
    })
    const { keyFor } = this.#rotation
    this.#takeCalls(createAnswers({ self, view, pinger, sync: this.#sync, refusals: this.#refusals, keyFor }))
  }

  get changes(): Topic<void> {
    return this.#notices.changes
  }

  get events(): Topic<MeshEvent> {
    return this.#notices.events
  }

  async start(): Promise<void> {
    if (this.#phase !== 'idle') throw new HsuError('INTERNAL', 'a mesh is started once')
    // Before the transport: whoever connects is told an incarnation that is on disk.
    await this.#self.begin()
    await this.#rulings.load()
    this.#registry.begin(this.#self.startedIncarnation)
    this.#phase = 'running'
    await this.#seams.transport.start()
    this.#announceAddresses()
    this.#detector.start()
    this.#tasks.run((signal) => this.#keepInStep(signal))
    const { name } = this.#config
    this.#seams.log.info('mesh joined', { nodeId: this.nodeId, name, incarnation: this.#self.incarnation })
  }

  async stop(): Promise<void> {
    const wasRunning = this.#phase === 'running'
    this.#phase = wasRunning ? 'leaving' : 'stopped'
    if (wasRunning) await this.#leave()
    await this.suspend()
  }

  async suspend(): Promise<void> {
    this.#phase = 'stopped'
    await this.#tasks.stop()
    this.#seams.loop?.stop()
    await this.#seams.transport.stop()
    await this.#self.refuted()
    await this.#rulings.saved()
  }

  members(): readonly MemberView[] {
    if (this.#self.startedIncarnation === 0) return []
    const others = this.#membership
      .entries()
      .map(({ member, signed }) => ({ ...member, record: signed.record, self: false }))
    others.sort((one, other) => (one.record.name + one.nodeId < other.record.name + other.nodeId ? -1 : 1))
    const { record } = this.#self.signed
    const { incarnation } = this.#self
    const own = { nodeId: this.nodeId, status: this.#view.selfStatus, incarnation, record, self: true }
    return [{ ...own, ...this.#removals.ownRemoval() }, ...others, ...this.#removals.views()]
  }

  registrations(): ReadonlyMap<string, readonly Registration[]> {
    return this.#registry.registrations()
  }

  publish(registrations: readonly Registration[]): void {
    checkSendable(this.nodeId, registrations)
    if (!this.#registry.publish(registrations)) return
    this.#notices.changed()
    this.#announceSection()
  }

  flushed(timeoutMs: number): Promise<void> {
    return this.#flush.flushed(timeoutMs, this.#tasks.signal)
  }

  ways(): readonly DiscoveryWay[] {
    return this.#seams.transport.ways()
  }

  async remove(nodeId: string, actor: string): Promise<void> {
    await this.#removals.remove(nodeId, actor)
  }

  async restore(nodeId: string, actor: string): Promise<void> {
    await this.#removals.restore(nodeId, actor)
  }

  async rotateKey(overlapMs: number, actor: string): Promise<{ fingerprint: string; holders: readonly string[] }> {
    if (this.#phase !== 'running') throw new HsuError('NOT_STARTED', 'this node is not in the mesh')
    return this.#rotation.rotate(overlapMs, actor)
  }

  heldKeys(): readonly Uint8Array[] {
    return this.#seams.keys?.inForce() ?? []
  }

  keys(): KeyReport {
    const { keys, holders, others } = this.#rotation.report()
    const present = new Set(this.#membership.live().map(({ member }) => member.nodeId))
    const isPresent = (id: string): boolean => present.has(id)
    return { keys, holders: holders.filter(isPresent), others: others.filter(isPresent) }
  }

  /** Of all members but this one, the present first. */
  #knownRecords(): NodeRecord[] {
    const [present, gone] = [this.#membership.live(), this.#membership.entries()]
    return [...new Set([...present, ...gone])].map(({ signed }) => signed.record)
  }

  #drop(nodeId: string): void {
    this.#detector.cleared(nodeId)
    this.#registry.drop(nodeId)
    this.#membership.drop(nodeId)
    this.#seams.transport.forget(nodeId)
  }

  /** Tells all, and above all the node that it is about: the others will soon talk to it no more. */
  async #tellRuling(signed: SignedRuling, about: string): Promise<void> {
    const { clock, transport } = this.#seams
    const batch: Batch = { ...EMPTY_BATCH, rulings: [signed] }
    this.#broadcast(batch)
    if (!transport.connected().includes(about)) return
    const told = this.#sync.push(about, batch, this.#tasks.signal).catch(() => undefined)
    await within(clock, this.#config.leaveTimeoutMs, told)
  }

  #announceSection(): void {
    if (this.#publishing) return
    this.#publishing = true
    // Several changes of one turn are one message.
    void Promise.resolve().then(() => {
      this.#publishing = false
      this.#broadcast({ records: [], rumours: [], sections: [this.#registry.own] })
    })
  }

  /** Heals a section of this node that it did not write; a peer that is passed over now comes again with its sync. */
  #outbid(section: Section, peer: string): void {
    const nowMs = this.#seams.clock.nowMs()
    if (nowMs - this.#outbidAtMs < OUTBID_REST_MS || !this.#registry.outbid(section)) return
    this.#outbidAtMs = nowMs
    this.#seams.log.warn('others held what this node does not register; outbid', { peer, version: section.version })
    this.#announceSection()
  }

  #takeCalls(answer: ReturnType<typeof createAnswers>): void {
    this.#seams.transport.handle({
      onRequest: async (from, bytes) => {
        if (!this.#isUp) throw new HsuError('NOT_STARTED', 'this node is not in the mesh')
        if (!this.#removals.admits(from)) throw new HsuError('NOT_PERMITTED', `${from} was removed from the mesh`)
        this.#detector.heardFrom(from)
        return answer(from, bytes, this.#tasks.signal)
      },
      onBroadcast: (from, bytes) => this.#onBroadcast(from, bytes),
      admits: (peer) => this.#removals.admits(peer),
      onConnected: (peer) => {
        if (!this.#isUp) return
        this.#detector.connected(peer)
        this.#tasks.run((signal) => this.#syncWith(peer, signal))
      },
      onDisconnected: (peer) => {
        if (this.#phase === 'running') this.#detector.connectionLost(peer)
      },
    })
  }

  get #isUp(): boolean {
    return this.#phase === 'running' || this.#phase === 'leaving'
  }

  #viewListener() {
    const { log } = this.#seams
    const reportTwin = createTwinReport({ ...this.#seams, notices: this.#notices, self: this.#self })
    return {
      onAccused: ({ incarnation }: Rumour) => this.#refute(incarnation),
      onTwin: (signed: Parameters<typeof reportTwin>[0], peer: string) => {
        if (this.#self.hasWritten(signed.record)) log.warn('an earlier run of this node was ahead of it', { peer })
        else reportTwin(signed, peer)
        this.#refute(signed.record.incarnation)
      },
      onSections: () => this.#notices.changed(),
      onOwnSection: (section: Section, peer: string) => this.#outbid(section, peer),
      onRuling: ({ ruling }: SignedRuling) => {
        if (ruling.kind === 'node') this.#removals.carryOut(ruling)
        else this.#tasks.run((signal) => this.#rotation.upkeep(signal))
      },
      onRefused: (peer: string, why: string) => this.#refusals.note(peer, why),
    }
  }

  #refute(incarnation: number): void {
    if (this.#phase !== 'running') return
    this.#self.refute(incarnation, () => {
      // Whoever is suspected may well be slow itself (Lifeguard).
      this.#awareness.note(1)
      this.#seams.log.debug('rumour about this node refuted', { incarnation: this.#self.incarnation })
      this.#broadcast({ records: [this.#self.signed], rumours: [], sections: [] })
      this.#notices.changed()
    })
  }

  #onBroadcast(from: string, bytes: Uint8Array): void {
    if (!this.#isUp || from === this.nodeId || this.#rulings.isRemoved(from)) return
    try {
      this.#view.receive(decodeBroadcast(bytes), from, 'broadcast')
    } catch (error) {
      this.#refusals.note(from, messageOf(error))
    }
  }

  #broadcast(batch: Batch): void {
    if (this.#isUp) this.#seams.transport.broadcast(encodeBroadcast(batch))
  }

  /** Repairs, every few seconds, what broadcasts have missed; and does the housekeeping. */
  #keepInStep(signal: AbortSignal): Promise<void> {
    const { clock, random, log, transport } = this.#seams
    const task = async (inner: AbortSignal): Promise<void> => {
      this.#membership.expire()
      await this.#rotation.upkeep(inner)
      this.#announceAddresses()
      const peers = transport.connected()
      const peer = peers[below(Math.max(1, peers.length), random)]
      if (peer !== undefined) await this.#syncWith(peer, inner)
    }
    const onError = (error: unknown): void => log.warn('upkeep of the mesh failed', { cause: messageOf(error) })
    return every(task, signal, { intervalMs: this.#config.syncIntervalMs, jitter: 0.2, clock, random, onError })
  }

  async #syncWith(peer: string, signal: AbortSignal): Promise<void> {
    if (this.#syncing.has(peer)) return
    this.#syncing.add(peer)
    try {
      await this.#sync.withPeer(peer, signal)
      this.#detector.heardFrom(peer)
    } catch (error) {
      // The next sync, with this peer or another, makes good for it.
      this.#seams.log.debug('sync failed', { nodeId: peer, cause: messageOf(error) })
    } finally {
      this.#syncing.delete(peer)
    }
  }

  #announceAddresses(): void {
    if (!this.#self.refresh()) return
    this.#broadcast({ records: [this.#self.signed], rumours: [], sections: [] })
    this.#notices.changed()
  }

  async #leave(): Promise<void> {
    const { clock, log, transport } = this.#seams
    const { nodeId } = this
    const { incarnation } = this.#self
    this.#view.selfStatus = 'left'
    const rumour: Rumour = { nodeId, status: 'left', incarnation, from: nodeId, linkLost: false }
    const batch: Batch = { records: [], rumours: [rumour], sections: [] }
    this.#broadcast(batch)
    const told = transport
      .connected()
      .map((peer) => this.#sync.push(peer, batch, this.#tasks.signal).catch(() => undefined))
    const heard = await within(clock, this.#config.leaveTimeoutMs, Promise.all(told))
    if (heard === TIMED_OUT) log.debug('left without hearing from all', { peers: told.length })
  }

  #tellRefused(peer: string, reason: string): void {
    const name = this.#membership.get(peer)?.signed.record.name ?? ''
    this.#notices.tell({ type: 'mesh.refused', nodeId: peer, name, reason, cause: peer })
  }
}

/** What others would refuse must not leave this node: they would drop the whole section. */
function checkSendable(owner: string, registrations: readonly Registration[]): void {
  const section = { owner, incarnation: 1, version: 1, registrations }
  const bytes = sectionBytes(section)
  if (bytes > MAX_SECTION_BYTES) {
    const details = { bytes, maxBytes: MAX_SECTION_BYTES }
    throw new HsuError('LIMIT_EXCEEDED', `registrations take ${bytes} bytes, more than ${MAX_SECTION_BYTES}`, {
      details,
    })
  }
  try {
    sectionFromProto(sectionToProto(section))
  } catch (cause) {
    throw new HsuError('LIMIT_EXCEEDED', `registrations cannot be sent: ${messageOf(cause)}`, { cause })
  }
}
