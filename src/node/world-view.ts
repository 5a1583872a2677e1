import { createTopic, type Topic } from '../base/topic.ts'
import type { MemberView, Mesh, NodeRecord, Registration } from '../mesh/index.ts'
import type { Endpoint, EndpointSource, LinkTarget } from '../rpc/index.ts'
import { EMPTY_VIEW, type EndpointView, endpointView } from './endpoint-view.ts'

export interface WorldSeams {
  /** Undefined while this host is alone. */
  readonly mesh: () => Mesh | undefined
  /** What this node offers, also when it is alone. */
  readonly own: () => readonly Registration[]
  /** Undefined when it is known what the units of this node offer; else resolves when it is. Left out: it is known. */
  readonly settling?: () => Promise<void> | undefined
}

/** What this node knows of the world, as the floors below ask for it. Read from memory; made anew by `refresh`. */
export interface WorldView {
  readonly endpoints: EndpointSource
  /** This node first. */
  members(): readonly MemberView[]
  /** Instance slots that a node has registered. */
  registrationsOf(nodeId: string): readonly Registration[]
  /** The same; undefined while it is not known what the node has. */
  sectionOf(nodeId: string): readonly Registration[] | undefined
  /** How to reach another node's link; undefined when it is not an alive member. */
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
  /** The member whose link certificate has this fingerprint; undefined for strangers and for the dead. */
  readonly memberWith: (fingerprint: string) => string | undefined
  /** Members that are alive or suspect and have this name or id. */
  readonly named: (nameOrId: string) => readonly MemberView[]
  readonly changes: Topic<undefined>
  refresh(): void
}

export function createWorldView({ mesh, own, settling = () => undefined }: WorldSeams, self: NodeRecord): WorldView {
  const changes = createTopic<undefined>()
  let version = 0
  /** Undefined when something has changed since it was made: nobody may ask for a while. */
  let made: EndpointView | undefined = EMPTY_VIEW
  const alone: MemberView = {
    nodeId: self.nodeId,
    status: 'alive',
    incarnation: self.incarnation,
    record: self,
    self: true,
  }

  const members = (): readonly MemberView[] => mesh()?.members() ?? [alone]
  const reachable = (): readonly MemberView[] => members().filter(isReachable)

  /** Our own section is taken from its source: it is true before the mesh has heard of it. */
  const registrations = (): ReadonlyMap<string, readonly Registration[]> =>
    new Map([...(mesh()?.registrations() ?? []), [self.nodeId, own()]])

  const links = (): readonly LinkTarget[] =>
    reachable().flatMap(({ record }) => (record === undefined ? [] : [linkTo(record)]))

  const view = (): EndpointView => (made ??= endpointView(members(), registrations()))

  return {
    endpoints: {
      upstream: (service) => view().upstream(service),
      byUnit: (unit) => view().byUnit(unit),
      services: () => view().services(),
      version: () => version,
      settling,
      feed: {
        entries: () => view().entries,
        links,
        settled: () => settling() === undefined,
        onChange: (listener) => changes.subscribe(listener),
      },
    },
    members,
    registrationsOf: (nodeId) => registrations().get(nodeId) ?? [],
    sectionOf: (nodeId) => registrations().get(nodeId),
    linkOf: (nodeId) => {
      const record = reachable().find((member) => member.nodeId === nodeId && !member.self)?.record
      return record && linkTo(record)
    },
    memberWith: (fingerprint) => reachable().find(({ record }) => record && shows(record, fingerprint))?.nodeId,
    named: (nameOrId) => reachable().filter(({ nodeId, record }) => nodeId === nameOrId || record?.name === nameOrId),
    changes,
    refresh() {
      made = undefined
      version += 1
      changes.publish(undefined)
    },
  }
}

function linkTo({ nodeId, linkAddresses, linkFingerprint, furtherLinkFingerprints: further }: NodeRecord): LinkTarget {
  return { nodeId, addresses: linkAddresses, fingerprint: linkFingerprint, ...(further && { further }) }
}

function shows({ linkFingerprint, furtherLinkFingerprints = [] }: NodeRecord, fingerprint: string): boolean {
  return linkFingerprint === fingerprint || furtherLinkFingerprints.includes(fingerprint)
}

export function isReachable({ status }: MemberView): boolean {
  return status === 'alive' || status === 'suspect'
}

/** Endpoints by the service they serve, for `hsu services`. */
export function byService(source: EndpointSource): readonly { service: string; endpoints: readonly Endpoint[] }[] {
  return source.services().map((service) => ({ service, endpoints: source.upstream(service) ?? [] }))
}
