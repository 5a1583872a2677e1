import type { ServiceStack } from '../base/lifecycle.ts'
import type { Store } from '../base/store.ts'
import type { Identity } from '../mesh/index.ts'
import type { Connection, GrpcProber, Ingress, LinkServer } from '../rpc/index.ts'
import type { Activation } from './activation/activation.ts'
import type { DataDirLock } from './data-dir-lock.ts'
import type { DirectPart } from './direct.ts'
import type { EventsInTurn } from './events-in-turn.ts'
import type { Invites } from './invite/invites.ts'
import type { LinkIdentity } from './link-identity.ts'
import type { MeshPart } from './mesh-part.ts'
import type { NodeNews } from './node-news.ts'
import type { Offers } from './offers.ts'
import type { OwnNames } from './own-names.ts'
import type { PartitionKeeper } from './partition/keeper.ts'
import type { ScheduleClaims } from './schedule-claims.ts'
import type { ServiceMemory } from './service-memory.ts'
import type { DoorHandles, Inheritance, MeshPlace } from './succession.ts'
import type { SupervisorInTurn } from './supervisor-in-turn.ts'
import type { UnitDoors } from './tcp/unit-doors.ts'
import type { EnvironmentReport } from './unit-environment.ts'
import type { WorldView } from './world-view.ts'

export interface Ground {
  readonly stack: ServiceStack
  readonly store: Store
  readonly identity: Identity
  readonly lock: DataDirLock
  /** What the process before this one left to it; undefined for a node that starts by itself. */
  readonly legacy: Legacy | undefined
}

export interface Legacy {
  readonly handles: DoorHandles
  readonly inheritance: Inheritance
  /** Aborts when that process is gone. */
  readonly gone: AbortSignal
  /** Given last, before the mesh is joined. */
  place: MeshPlace | undefined
}

/** Where a node's two unix sockets are: the control API's front door, and the API itself behind it. */
export interface Sockets {
  readonly control: string
  readonly api: string
}

/** Tools that several parts use. */
export interface Tools {
  readonly events: EventsInTurn
  readonly news: NodeNews
  readonly prober: GrpcProber
  readonly connection: Connection
  /** Undefined without a mesh. */
  readonly link: LinkIdentity | undefined
}

/** The parts of a node, made but not started. */
export interface Parts {
  readonly world: WorldView
  readonly ingress: Ingress
  readonly direct: DirectPart
  readonly supervisor: SupervisorInTurn
  readonly offers: Offers
  readonly services: ServiceMemory
  readonly names: OwnNames
  readonly activation: Activation
  readonly unitDoors: UnitDoors
  readonly linkServer: LinkServer | undefined
  readonly mesh: MeshPart
  /** Undefined without a mesh. */
  readonly claims: ScheduleClaims | undefined
  /** Undefined without a mesh. */
  readonly partition: PartitionKeeper | undefined
  readonly invites: Invites
  readonly environments: EnvironmentReport
}
