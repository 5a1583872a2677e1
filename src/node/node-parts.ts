import { join } from 'node:path'
import { within } from '../base/clock.ts'
import type { Mesh, NodeRecord } from '../mesh/index.ts'
import { createSupervisor, type SupervisorSeams } from '../process/index.ts'
import {
  ControlService,
  createCallLimits,
  createInFlight,
  type GrpcProber,
  type LinkCertificate,
  type Takeover,
} from '../rpc/index.ts'
import { createActivation } from './activation/activation.ts'
import { wakerElsewhere } from './activation/wake-elsewhere.ts'
import { ACTOR_KEY } from './actor.ts'
import { createDirect } from './direct.ts'
import { slotsElsewhere } from './elsewhere.ts'
import { openEventLog } from './event-log.ts'
import { eventsInTurn } from './events-in-turn.ts'
import { openLinkIdentity } from './link-identity.ts'
import { meshEvent } from './mesh-event.ts'
import { createMeshPart } from './mesh-part.ts'
import { createGuests } from './invite/guests.ts'
import { giftOf } from './invite/gift.ts'
import { Invites } from './invite/invites.ts'
import { createNodeNews } from './node-news.ts'
import type { NodeSetup } from './node-setup.ts'
import { PartitionKeeper } from './partition/keeper.ts'
import { createOffers } from './offers.ts'
import { openMesh } from './open-mesh.ts'
import type { Outside } from './outside.ts'
import { createOwnNames } from './own-names.ts'
import type { Ground, Parts, Sockets, Tools } from './parts.ts'
import { createScheduleClaims, type ScheduleClaimsSeams } from './schedule-claims.ts'
import { createServiceMemory } from './service-memory.ts'
import type { DoorHandles } from './succession.ts'
import { supervisorInTurn } from './supervisor-in-turn.ts'
import { turnedAwayEvent } from './tcp/turned-away.ts'
import { createUnitDoors } from './tcp/unit-doors.ts'
import { toUnit } from './to-proto.ts'
import { type EnvironmentFacts, environmentReport, unitEnvironment } from './unit-environment.ts'
import { createWorldView } from './world-view.ts'

/** How long others may take to acknowledge that an instance was withdrawn, before it is stopped. */
const WITHDRAW_MS = 500

/** How long a ready instance may take to tell its services, before it counts as known without them. */
const OFFER_MS = 5_000

/** How long another node may take to stop a run that one here replaces. */
const STOP_ELSEWHERE_MS = 60_000

export async function makeTools(
  { clock, random, log, disk, network, servers }: Outside,
  { name, mesh, paths, events: eventLimits }: NodeSetup,
  { store, legacy }: Ground,
  sockets: Sockets,
): Promise<Tools> {
  const eventDisk = disk.events(paths.dataDir)
  const events = await eventsInTurn(
    () => openEventLog({ clock, log, disk: eventDisk }, eventLimits),
    () => clock.wallMs(),
  )
  return {
    link:
      mesh === undefined
        ? undefined
        : await openLinkIdentity(
            { clock, random, store, log, make: (lifetimeMs) => network.certificate(lifetimeMs) },
            { lifetimeMs: mesh.config.certificate_lifetime, mayRenewAtStart: legacy === undefined },
          ),
    events,
    news: createNodeNews({ clock, events }, name),
    prober: network.prober(),
    connection: servers.connect(`unix:${sockets.control}`),
  }
}

/** Ends what the tools hold open. */
export async function closeTools({ connection, events, prober }: Tools): Promise<void> {
  connection.close()
  prober.close()
  await events.close()
}

export interface Workshop {
  readonly tools: Tools
  readonly sockets: Sockets
}

/** The parts know of each other only what these closures hand them, which are called once all of them are there. */
export function makeParts(seams: Outside, setup: NodeSetup, ground: Ground, { tools, sockets }: Workshop): Parts {
  const { clock, random, log, host, servers } = seams
  const { name, paths, listen } = setup
  const { nodeId } = ground.identity
  const { link, prober } = tools
  const certificate = link?.certificate
  const { legacy } = ground
  const world = createWorldView(
    { mesh: () => mesh.current(), own: () => offers.registrations(), settling: () => names.settling() },
    ownRecord(setup, nodeId, certificate),
  )
  const { endpoints, linkOf } = world
  const inFlight = createInFlight()
  const shared = { routeOf: setup.routeOf, inFlight, limitsOf: createCallLimits(clock) }
  const ingress = servers.ingress(
    {
      ...{ clock, random, log, endpoints, linkOf, ...shared },
      wake: (sleeper, signal) => activation.wakeForCall(sleeper, signal),
    },
    {
      listen: listen.ingress,
      nodeId,
      zone: setup.labels['zone'],
      certificate,
      ...takeoverOf(legacy?.handles, 'ingress'),
    },
  )
  const direct = createDirect(
    {
      ...seams,
      endpoints,
      isDraining: (instance) => offers.isDraining(instance),
      ingressAddress: () => ingress.address(),
    },
    setup,
    { nodeId, ...takeoverOf(legacy?.handles, 'xds') },
  )
  /** Resolves when other nodes and direct callers hold what is offered of the instance now, or after a bounded while. */
  const told = async (unit: string, instance: string): Promise<void> => {
    const status = supervisor.status().find((status) => status.instance === instance)
    const names = [unit, ...(status === undefined ? [] : offers.servicesOf(status))]
    await Promise.all([mesh.current()?.flushed(WITHDRAW_MS), direct.settled(names, WITHDRAW_MS)])
  }
  const environmentFacts: EnvironmentFacts = {
    nodeName: name,
    controlSocket: sockets.control,
    ingressAddress: () => ingress.address(),
    xds: (client) => direct.environment(client),
  }
  const claims =
    setup.mesh &&
    createScheduleClaims({
      ...{ clock, nodeId, world },
      changed: () => offers.refresh(),
      flushed: async (timeoutMs) => mesh.current()?.flushed(timeoutMs),
      stopUnit: stopper(tools, name),
    })
  const partition =
    setup.mesh &&
    new PartitionKeeper({
      ...{ clock, log, world, store: ground.store, self: { nodeId, name }, policyOf: setup.partitionOf },
      statuses: () => supervisor.status(),
      changed: () => offers.refresh(),
    })
  const supervisorSeams: SupervisorSeams = {
    clock,
    random,
    log,
    store: ground.store,
    host,
    grpc: { check: (address, what, signal) => askOrThrow(prober, address, what, signal) },
    environmentOf: unitEnvironment(environmentFacts),
    withdraw: async (unit, instance) => {
      offers.withdraw(instance)
      await told(unit, instance)
    },
    drain: (_unit, instance, signal) => ingress.drained(instance, signal),
    announced: async (status, signal) => {
      await within(clock, OFFER_MS, offers.offered(status, signal))
      await told(status.unit, status.instance)
    },
    nextEventId: () => tools.events.nextId(),
    nodeEvent: () => tools.news.last,
    elsewhere: slotsElsewhere(world),
    ...seams.supervision,
    ...(claims && { scheduleMesh: claims }),
    ...(partition && { restraints: partition }),
  }
  const directories = { runDir: paths.unitsDir, logDir: join(paths.logDir, 'units') }
  const supervisor = supervisorInTurn(
    (goesOn) => createSupervisor(supervisorSeams, { ...directories, goesOn }),
    legacy !== undefined,
  )
  const services = createServiceMemory(ground.store, log)
  const offers = createOffers({
    clock,
    random,
    log,
    supervisor,
    askServices: (address, signal) => prober.services(address, signal),
    configuredServices: setup.servicesOf,
    claimOf: (unit) => claims?.claimOf(unit),
    tenureOf: (unit) => partition?.tenureOf(unit),
    onCallOf: (unit) => activation.onCallOf(unit),
    termsOf: setup.termsOf,
    memory: services,
  })
  const names = createOwnNames({
    clock,
    isUntold: () => supervisor.status().some((status) => offers.isUntold(status)),
    changes: offers.changes,
    joined: () => mesh.joined(),
    settled: () => world.refresh(),
  })
  const activation = createActivation({
    ...{ clock, log, nodeId, world },
    nodeName: name,
    supervisor,
    describe: (status) => toUnit(status, name, offers.servicesOf(status)),
    holdOf: (unit) => setup.routeOf(unit)?.hold,
    wakeElsewhere: wakerElsewhere(tools.connection.client(ControlService)),
    traffic: {
      callsOf(unit, instance) {
        const [past, connections] = [direct.callsOf(unit, instance), unitDoors.connectionsOf(instance)]
        return {
          inFlight: inFlight.of(instance) + past.inFlight + connections.inFlight,
          total: inFlight.total(instance) + past.total + connections.total,
        }
      },
      connectionsTo: async (ports) => (await host.table.connections?.(ports)) ?? new Map<number, number>(),
    },
  })
  const unitDoors = createUnitDoors(
    {
      ...{ clock, random, log, servers },
      wanted: setup.listens,
      status: () => supervisor.status(),
      holdMsOf: (unit) => activation.holdMsOf(unit),
      async wake(unit, address, signal) {
        const asker = { actor: `a connection to ${address}` }
        await activation.wake(unit, { here: true, forCall: true, asker }, signal)
      },
      turnedAway: (news) => tools.events.append(turnedAwayEvent(tools, clock, { node: name, supervisor }, news)),
    },
    legacy?.handles.tcp,
  )
  const invites = new Invites(clock)
  const guests = createGuests({
    ...{ clock, log, invites },
    gift: () => giftOf(setup, mesh.current()),
    tell: (type, reason, details) =>
      tools.events.append(meshEvent(tools, clock.wallMs(), { type, reason, details, node: name })),
  })
  const linkServer =
    certificate &&
    servers.link(
      { clock, log, endpoints, isMember: world.memberWith, guests, ...shared },
      { listen: listen.link, nodeId, certificate, controlSocket: sockets.api, ...takeoverOf(legacy?.handles, 'link') },
    )
  const open = (): Promise<Mesh> => openMesh(seams, setup, ground, { tools, linkServer })
  const mesh = createMeshPart({ clock, random, log, open: setup.mesh && open })
  const environments = environmentReport(environmentFacts)
  return {
    world,
    ingress,
    direct,
    supervisor,
    offers,
    services,
    names,
    activation,
    unitDoors,
    linkServer,
    mesh,
    claims,
    partition,
    invites,
    environments,
  }
}

/** Probes want the reason of a no as a throw. */
async function askOrThrow(prober: GrpcProber, address: string, what: string, signal: AbortSignal): Promise<boolean> {
  const fault = await prober.faultOf(address, what, signal)
  if (fault !== '') throw new Error(fault)
  return true
}

/** How a door begins: by itself, or when it is told that the process before this one no longer serves. */
export function takeoverOf(
  handles: DoorHandles | undefined,
  door: Exclude<keyof DoorHandles, 'tcp'>,
): { readonly takeover?: Takeover } {
  return handles === undefined ? {} : { takeover: { handle: handles[door] } }
}

/** Stops a unit of another node, as a person would from here. */
function stopper({ connection }: Tools, name: string): ScheduleClaimsSeams['stopUnit'] {
  const control = connection.client(ControlService)
  const actor = encodeURIComponent(`a schedule on node ${name}`)
  return async (nodeId, unit, signal) => {
    const metadata = { 'hsu-node': nodeId, [ACTOR_KEY]: actor }
    await control.stopUnit({ unit }, { metadata, signal, timeoutMs: STOP_ELSEWHERE_MS })
  }
}

/** What this node says of itself while it is alone; in a mesh, the mesh keeps its record. */
function ownRecord(
  { name, version, labels }: NodeSetup,
  nodeId: string,
  certificate: LinkCertificate | undefined,
): NodeRecord {
  return {
    nodeId,
    name,
    incarnation: 0,
    startedIncarnation: 0,
    recordVersion: 0,
    meshAddresses: [],
    linkAddresses: [],
    linkFingerprint: certificate?.fingerprint ?? '',
    labels,
    version,
  }
}
