import { HsuError, messageOf } from '../base/error.ts'
import type { Topic } from '../base/topic.ts'
import type { Mesh, MeshNodeConfig, MeshSeams } from './api.ts'
import { decodeBroadcast } from './gossip/codec.ts'
import type { KeyReport } from './keys/rotation.ts'
import { isUp } from './life.ts'
import type { MemberView, MeshEvent, Registration } from './member.ts'
import { createParts, type MeshParts } from './parts.ts'
import type { DiscoveryWay, TransportHandlers } from './transport.ts'

/** Makes this node's end of the mesh. `stop()` leaves politely: the others drop what this node registered at once. */
export function createMesh(seams: MeshSeams, config: MeshNodeConfig): Mesh {
  return new MeshNode(seams, config)
}

class MeshNode implements Mesh {
  readonly name = 'mesh'
  readonly nodeId: string
  readonly #seams: MeshSeams
  readonly #nodeName: string
  readonly #parts: MeshParts

  constructor(seams: MeshSeams, config: MeshNodeConfig) {
    this.nodeId = seams.identity.nodeId
    this.#seams = seams
    this.#nodeName = config.name
    this.#parts = createParts(seams, config)
    seams.transport.handle(handlers(this.#parts))
  }

  get changes(): Topic<void> {
    return this.#parts.notices.changes
  }

  get events(): Topic<MeshEvent> {
    return this.#parts.notices.events
  }

  async start(): Promise<void> {
    const { life, self, registry, rulings, announcer, detector, tasks, upkeep } = this.#parts
    if (life.phase !== 'idle') throw new HsuError('INTERNAL', 'a mesh is started once')
    // Before the transport: whoever connects is told an incarnation that is on disk.
    await self.begin()
    await rulings.load()
    registry.begin(self.startedIncarnation)
    life.phase = 'running'
    await this.#seams.transport.start()
    announcer.record()
    detector.start()
    tasks.run((signal) => upkeep.run(signal))
    const { incarnation } = self
    this.#seams.log.info('mesh joined', { nodeId: this.nodeId, name: this.#nodeName, incarnation })
  }

  async stop(): Promise<void> {
    const { life, announcer } = this.#parts
    const wasRunning = life.phase === 'running'
    life.phase = wasRunning ? 'leaving' : 'stopped'
    if (wasRunning) await announcer.farewell()
    await this.suspend()
  }

  async suspend(awayMs = 0): Promise<void> {
    const { life, tasks, self, rulings, announcer } = this.#parts
    if (awayMs > 0 && isUp(life)) await announcer.absence(awayMs)
    life.phase = 'stopped'
    await tasks.stop()
    this.#seams.loop?.stop()
    await this.#seams.transport.stop()
    await self.refuted()
    await rulings.saved()
  }

  members(): readonly MemberView[] {
    const { self, membership, view, removals } = this.#parts
    if (self.startedIncarnation === 0) return []
    const others = membership.entries().map(({ member, signed }) => ({ ...member, record: signed.record, self: false }))
    others.sort(byName)
    const { incarnation } = self
    const own = { nodeId: this.nodeId, status: view.selfStatus, incarnation, record: self.signed.record, self: true }
    return [{ ...own, ...removals.ownRemoval() }, ...others, ...removals.views()]
  }

  registrations(): ReadonlyMap<string, readonly Registration[]> {
    return this.#parts.registry.registrations()
  }

  publish(registrations: readonly Registration[]): void {
    const { registry, notices, announcer } = this.#parts
    if (!registry.publish(registrations)) return
    notices.changed()
    announcer.section()
  }

  flushed(timeoutMs: number): Promise<void> {
    return this.#parts.flush.flushed(timeoutMs, this.#parts.tasks.signal)
  }

  ways(): readonly DiscoveryWay[] {
    return this.#seams.transport.ways()
  }

  async remove(nodeId: string, actor: string): Promise<void> {
    await this.#parts.removals.remove(nodeId, actor)
  }

  async restore(nodeId: string, actor: string): Promise<void> {
    await this.#parts.removals.restore(nodeId, actor)
  }

  async rotateKey(overlapMs: number, actor: string): Promise<{ fingerprint: string; holders: readonly string[] }> {
    if (this.#parts.life.phase !== 'running') throw new HsuError('NOT_STARTED', 'this node is not in the mesh')
    return this.#parts.rotation.rotate(overlapMs, actor)
  }

  heldKeys(): readonly Uint8Array[] {
    return this.#seams.keys?.inForce() ?? []
  }

  keys(): KeyReport {
    const { keys, holders, others } = this.#parts.rotation.report()
    const present = new Set(this.#parts.membership.live().map(({ member }) => member.nodeId))
    const isPresent = (id: string): boolean => present.has(id)
    return { keys, holders: holders.filter(isPresent), others: others.filter(isPresent) }
  }
}

function byName(one: MemberView, other: MemberView): number {
  const [name = '', otherName = ''] = [one.record?.name, other.record?.name]
  if (name !== otherName) return name < otherName ? -1 : 1
  return one.nodeId < other.nodeId ? -1 : 1
}

/** What this node does with what arrives. */
function handlers(parts: MeshParts): TransportHandlers {
  const { life, self, removals, rulings, detector, tasks, upkeep, view, refusals, answer } = parts
  return {
    onRequest: async (from, bytes) => {
      if (!isUp(life)) throw new HsuError('NOT_STARTED', 'this node is not in the mesh')
      if (!removals.admits(from)) throw new HsuError('NOT_PERMITTED', `${from} was removed from the mesh`)
      detector.heardFrom(from)
      return answer(from, bytes, tasks.signal)
    },
    onBroadcast(from, bytes) {
      if (!isUp(life) || from === self.nodeId || rulings.isRemoved(from)) return
      try {
        view.receive(decodeBroadcast(bytes), from, 'broadcast')
      } catch (error) {
        refusals.note(from, messageOf(error))
      }
    },
    admits: (peer) => removals.admits(peer),
    onConnected(peer) {
      if (!isUp(life)) return
      detector.connected(peer)
      tasks.run((signal) => upkeep.syncWith(peer, signal))
    },
    onDisconnected(peer) {
      if (life.phase === 'running') detector.connectionLost(peer)
    },
  }
}
