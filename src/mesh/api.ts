import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import type { Topic } from '../base/topic.ts'
import type { MeshTiming } from './config.ts'
import type { LoopWatch } from './detector/stalls.ts'
import type { Identity } from './identity.ts'
import type { KeyRing } from './keys/key-ring.ts'
import type { KeyReport } from './keys/rotation.ts'
import type { MemberView, MeshEvent, Registration } from './member.ts'
import type { DiscoveryWay, Transport } from './transport.ts'

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
   * @throws HsuError LIMIT_EXCEEDED for more than 4,000 registrations, more than 512 KiB, or a text above 256 characters.
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
  suspend(awayMs?: number): Promise<void>
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
  /**
   * SHA-256, as 64 hex digits each, of the link certificate that this node shows, and of others of its that count as well; empty when
   * there is none. Asked again every few seconds.
   */
  readonly linkFingerprints: () => readonly string[]
}
