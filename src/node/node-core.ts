import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { MemberView } from '../mesh/index.ts'
import type { Supervisor, UnitSpec, Usage } from '../process/index.ts'
import type {
  CallDoors,
  CallRow,
  CheckSchema,
  ControlService,
  Ingress,
  ServiceClient,
  ServiceSchema,
} from '../rpc/index.ts'
import type { Activation } from './activation/activation.ts'
import type { AdminServer } from './admin/server.ts'
import type { Attachments } from './attachments.ts'
import type { LineContext } from './calls/call-line.ts'
import type { DirectPart } from './direct.ts'
import type { EventLog } from './event-log.ts'
import type { NodeNews, NodeNewsItem } from './node-news.ts'
import type { ConfigReport } from './node-setup.ts'
import type { Invites } from './invite/invites.ts'
import type { MeshPart } from './mesh-part.ts'
import type { Offers } from './offers.ts'
import type { Reload } from './reload.ts'
import type { EnvironmentReport } from './unit-environment.ts'
import type { Upgrade } from './upgrade.ts'
import { byService, isReachable, type WorldView } from './world-view.ts'

/** What does not change while a node runs. */
export interface NodeInfo {
  readonly name: string
  readonly nodeId: string
  /** Undefined: this host alone. */
  readonly mesh: string | undefined
  /** Absolute. */
  readonly meshKeyFile: string | undefined
  readonly dataDir: string
  readonly controlSocket: string
  readonly pid: number
  /** Wall clock. */
  readonly startedAtMs: number
}

export interface Peer {
  readonly nodeId: string
  readonly name: string
}

export type Check = MessageInitShape<typeof CheckSchema>

export interface NodeCoreParts {
  readonly info: NodeInfo
  readonly clock: Clock
  readonly log: Log
  readonly supervisor: Supervisor
  readonly attachments: Attachments
  readonly events: EventLog
  readonly news: NodeNews
  readonly world: WorldView
  readonly offers: Offers
  readonly activation: Activation
  readonly mesh: Pick<MeshPart, 'current'>
  readonly invites: Invites
  readonly ingress: Ingress
  readonly direct: Pick<DirectPart, 'callsOf'>
  /** What programs and units are told of the node. */
  readonly environments: EnvironmentReport
  /** Undefined when it is off. */
  readonly admin: AdminServer | undefined
  /** What the node itself uses; undefined where the system does not tell. */
  readonly ownUsage: () => Promise<Usage | undefined>
  /** What was counted of the calls through this node. */
  readonly calls: () => Promise<readonly CallRow[]>
  /** Shows calls as they end. */
  readonly watchCalls: CallDoors['watch']
  /** The control API of any node: this one, or the one named by the metadata `hsu-node`. */
  readonly control: ServiceClient<typeof ControlService>
  /** The configuration in force. */
  readonly config: () => ConfigReport
  readonly diagnose: () => Promise<readonly Check[]>
  readonly reload: Reload
  readonly upgrade: Upgrade
  /** Begins the orderly end of the node, which `actor` asked for; returns at once. */
  readonly requestShutdown: (actor: string, units: 'stop' | 'keep') => void
}

/** The running node as its control API and its embedder see it: its parts, and questions that take several of them. */
export interface NodeCore extends NodeCoreParts {
  self(): MemberView
  /** The other nodes that can be asked now. */
  peers(): readonly Peer[]
  /** How calls are told of. */
  readonly lineContext: LineContext
  services(): MessageInitShape<typeof ServiceSchema>[]
  /** @throws HsuError UNIT_NOT_FOUND */
  specOf(unit: string): UnitSpec
  /** From now on the node takes no new work; `item` says why. */
  beginStopping(item?: NodeNewsItem): void
  /** @throws HsuError NODE_DRAINING once the node is on its way down. */
  refuseWhenStopping(): void
  isStopping(): boolean
  /** @throws HsuError NODE_DRAINING while another process takes the place of this one */
  refuseWhenReplaced(): void
}

export function createNodeCore(parts: NodeCoreParts): NodeCore {
  const { info, world, ingress, direct, supervisor, news } = parts
  let stopping = false
  return {
    ...parts,
    self() {
      const self = world.members().find((member) => member.self)
      if (self === undefined) throw new HsuError('INTERNAL', 'the node is not among the members it knows')
      return self
    },
    lineContext: lineContext(info.name, world),
    peers: () =>
      world
        .members()
        .filter((member) => !member.self && isReachable(member))
        .map(({ nodeId, record }) => ({ nodeId, name: record?.name ?? nodeId })),
    services: () =>
      byService(world.endpoints).map(({ service, endpoints }) => ({
        service,
        endpoints: endpoints.map(({ unit, instance, nodeId, node, address, ready, version, canary }) => {
          const past = nodeId === info.nodeId ? direct.callsOf(unit, instance).inFlight : 0
          const inFlight = ingress.inFlight(instance) + past
          return {
            unit,
            instance,
            node,
            address,
            ready,
            inFlight,
            ...(version && { version }),
            ...(canary && { canary }),
          }
        }),
      })),
    specOf(unit) {
      const spec = supervisor.spec(unit)
      if (spec !== undefined) return spec
      const text = `no unit '${unit}' on node ${info.name}; hsu ps lists the units of every node`
      throw new HsuError('UNIT_NOT_FOUND', text, { details: { unit, node: info.name } })
    },
    beginStopping(item) {
      if (!stopping) news.tell('node.stopping', item)
      stopping = true
    },
    isStopping: () => stopping,
    refuseWhenReplaced() {
      if (!parts.upgrade.isReplaced) return
      throw new HsuError('NODE_DRAINING', `node ${info.name} is being taken over by another process; try again`)
    },
    refuseWhenStopping() {
      this.refuseWhenReplaced()
      if (stopping) throw new HsuError('NODE_DRAINING', `node ${info.name} is shutting down and starts nothing new`)
    },
  }
}

/** Names for people, in what is told of calls. */
export function lineContext(node: string, world: Pick<WorldView, 'members'>): LineContext {
  return {
    node,
    nameOf: (nodeId) => world.members().find((member) => member.nodeId === nodeId)?.record?.name ?? nodeId,
  }
}
