import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type Clock, within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { fileStore } from '../base/file-store.ts'
import { type Service, type ServiceStack, serviceStack } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { systemLoopDelay } from '../base/system-loop-delay.ts'
import {
  createMesh,
  type Identity,
  libp2pTransport,
  loadIdentity,
  type Mesh,
  MESH_PRESETS,
  type NodeRecord,
} from '../mesh/index.ts'
import { createSupervisor, type ProcessHost } from '../process/index.ts'
import {
  ControlService,
  connect,
  createApiServer,
  createControlFront,
  createGrpcProber,
  createIngress,
  createLinkCertificate,
  createLinkServer,
  type LinkCertificate,
  type LinkServer,
} from '../rpc/index.ts'
import { controlService } from './control-service.ts'
import { dataDirLock } from './data-dir-lock.ts'
import { diagnoseNode } from './diagnose.ts'
import { createEventLog } from './event-log.ts'
import { linkAddresses, splitHostPort } from './link-addresses.ts'
import { loadLinkCertificate } from './link-identity.ts'
import { createMeshPart } from './mesh-part.ts'
import { createNodeCore, type NodeCore } from './node-core.ts'
import type { NodeSetup } from './node-setup.ts'
import { createOffers } from './offers.ts'
import { socketPath } from './paths.ts'
import { unitEnvironment } from './unit-environment.ts'
import { createWorldView } from './world-view.ts'

/** Everything that is not a pure function of its inputs. Tests pass their own; `systemSeams()` gives the real ones. */
export interface NodeSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly host: ProcessHost
  readonly pid: number
}

/** A node that runs. */
export interface RunningNode {
  readonly core: NodeCore
  /** Resolves when somebody asked the node to end through its control API. */
  readonly shutdownRequested: Promise<void>
  /** Resolves when joining the mesh is over; at once for a node without one. */
  joined(): Promise<void>
  /** Drains, stops units in reverse dependency order, leaves the mesh. Twice is no error. */
  stop(): Promise<void>
  /** Ends without stopping units: the next node with this data directory adopts them. */
  abandon(): Promise<void>
}

/** Events kept in memory for `hsu events` and `hsu describe`. */
const MAX_EVENTS = 10_000

/** How long others may take to acknowledge that an instance was withdrawn, before it is stopped. */
const WITHDRAW_MS = 500

/** How long calls in flight to an instance may take to finish after it was withdrawn. */
const FINISH_CALLS_MS = 5_000

/**
 * Starts one node. The floors below never import each other: whatever they share, they are handed here.
 *
 * @throws HsuError NODE_EXISTS when another node runs with the same data directory; what the parts throw. Whatever had
 * been started by then is stopped again.
 */
export async function startNode(seams: NodeSeams, setup: NodeSetup): Promise<RunningNode> {
  const stack = serviceStack(`node ${setup.name}`)
  try {
    const { dataDir } = setup.paths
    await stack.begin(dataDirLock(seams.host.table, { dataDir, nodeName: setup.name, pid: seams.pid }))
    const store = fileStore(dataDir)
    const identity = await loadIdentity(store, seams.log)
    return await compose(seams, setup, { stack, store, identity })
  } catch (error) {
    await stack
      .stop()
      .catch((cause: unknown) => seams.log.error('cannot undo a failed start', { cause: messageOf(cause) }))
    throw error
  }
}

interface Ground {
  readonly stack: ServiceStack
  readonly store: Store
  readonly identity: Identity
}

async function compose(seams: NodeSeams, setup: NodeSetup, ground: Ground): Promise<RunningNode> {
  const { clock, random, log, host } = seams
  const { stack, store, identity } = ground
  const { name, paths, listen } = setup
  const { nodeId } = identity
  const apiSocketPath = socketPath(paths, 'api.sock', process.platform)
  const controlSocket = socketPath(paths, 'control.sock', process.platform)
  const certificate =
    setup.mesh === undefined
      ? undefined
      : await loadLinkCertificate(store, log, () => createLinkCertificate(clock, name))

  const events = createEventLog(MAX_EVENTS)
  const loopDelay = systemLoopDelay()
  const prober = createGrpcProber()
  const connection = connect(`unix:${controlSocket}`)
  await stack.begin(
    atStop('shared tools', () => {
      connection.close()
      prober.close()
      loopDelay.close()
    }),
  )

  // The parts know of each other only what these closures hand them; they are called once everything is there.
  const world = createWorldView(
    { mesh: () => mesh.current(), own: () => offers.registrations() },
    ownRecord(setup, nodeId, certificate),
  )
  const ingress = createIngress(
    { clock, random, log, endpoints: world.endpoints, linkOf: world.linkOf },
    { listen: listen.ingress, nodeId, certificate },
  )
  const supervisor = createSupervisor(
    {
      clock,
      random,
      log,
      store,
      host,
      grpc: prober,
      environmentOf: unitEnvironment({ nodeName: name, controlSocket, ingressAddress: () => ingress.address() }),
      drain: (_unit, instance, signal) => drain(instance, signal),
    },
    { runDir: paths.unitsDir, logDir: join(paths.logDir, 'units') },
  )
  const offers = createOffers({
    clock,
    log,
    supervisor,
    askServices: (address, signal) => prober.services(address, signal),
    configuredServices: setup.servicesOf,
  })
  const linkServer =
    certificate === undefined
      ? undefined
      : createLinkServer(
          { clock, log, endpoints: world.endpoints, isMember: world.memberWith },
          { listen: listen.link, nodeId, certificate, controlSocket: apiSocketPath },
        )
  const mesh = createMeshPart({
    log,
    open:
      setup.mesh && (() => openMesh(seams, setup, ground, { certificate, linkServer, loopDelayMs: loopDelay.takeMs })),
    onOpen: (opened) => {
      opened.publish(offers.registrations())
      opened.changes.subscribe(() => world.refresh())
      opened.events.subscribe(({ type, nodeId, name: member, reason, cause }) => {
        const details = { nodeId, name: member }
        events.append({ wallMs: clock.wallMs(), node: name, unit: '', instance: '', type, reason, details, cause })
      })
    },
  })

  offers.changes.subscribe(() => {
    mesh.current()?.publish(offers.registrations())
    world.refresh()
  })
  supervisor.events.subscribe((event) => events.append({ ...event, node: name }))

  async function drain(instance: string, signal: AbortSignal): Promise<void> {
    offers.withdraw(instance)
    await mesh.current()?.flushed(WITHDRAW_MS)
    await within(clock, FINISH_CALLS_MS, ingress.drained(instance, signal))
  }

  const shutdown = deferred()
  const core = createNodeCore({
    info: {
      name,
      nodeId,
      mesh: setup.mesh?.config.name,
      dataDir: paths.dataDir,
      controlSocket,
      pid: seams.pid,
      startedAtMs: clock.wallMs(),
    },
    clock,
    log,
    supervisor,
    events,
    world,
    offers,
    ingress,
    control: connection.client(ControlService),
    config: setup.config,
    diagnose: () => diagnoseNode({ setup, ingress, linkServer, mesh: mesh.current(), world }),
    requestShutdown: shutdown.resolve,
  })

  await stack.begin(createApiServer({ clock, log }, { socketPath: apiSocketPath }, [controlService(core)]))
  await stack.begin(ingress)
  if (linkServer !== undefined) await stack.begin(linkServer)
  await stack.begin(mesh)
  await stack.begin(atStop('offers', () => offers.stop()))
  await stack.begin(supervisor)
  await supervisor.apply(setup.units)
  await stack.begin(
    createControlFront(
      { clock, log, linkOf: world.linkOf, named: world.named },
      { socketPath: controlSocket, apiSocketPath, nodeId, nodeName: name, certificate },
    ),
  )
  core.note('node.started', { ingress: ingress.address(), pid: String(seams.pid) })
  return {
    core,
    shutdownRequested: shutdown.promise,
    joined: () => mesh.joined(),
    async stop() {
      core.beginStopping()
      await stack.stop()
    },
    async abandon() {
      core.beginStopping()
      await supervisor.abandon()
      await stack.stop()
    },
  }
}

interface MeshNeeds {
  readonly certificate: LinkCertificate | undefined
  readonly linkServer: LinkServer | undefined
  readonly loopDelayMs: () => number
}

/** Loads libp2p, which is why it happens late and only where there is a mesh. */
async function openMesh(
  seams: NodeSeams,
  { name, version, labels, listen, mesh }: NodeSetup,
  { store, identity }: Ground,
  { certificate, linkServer, loopDelayMs }: MeshNeeds,
): Promise<Mesh> {
  const { clock, random, log } = seams
  if (mesh === undefined) throw new Error('a node without a mesh opens none')
  const { discovery, preset } = mesh.config
  const transport = await libp2pTransport(
    { clock, random, log, store, identity },
    { key: mesh.key, listen: listen.mesh, discovery },
  )
  return createMesh(
    { clock, random, log, store, identity, transport, loopDelayMs },
    {
      ...MESH_PRESETS[preset],
      name,
      version,
      labels,
      linkAddresses: () =>
        linkServer === undefined
          ? []
          : linkAddresses(splitHostPort(linkServer.address()), hostAddresses(), discovery.interfaces),
      linkFingerprint: certificate?.fingerprint ?? '',
    },
  )
}

function hostAddresses(): { name: string; address: string; internal: boolean }[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(({ address, internal }) => ({ name, address, internal })),
  )
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

/** Something that only has an end. */
function atStop(name: string, end: () => void | Promise<void>): Service {
  return {
    name,
    start: () => Promise.resolve(),
    stop: async () => {
      await end()
    },
  }
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
