import { messageOf } from '../base/error.ts'
import { fileStore } from '../base/file-store.ts'
import { type Service, serviceStack } from '../base/lifecycle.ts'
import { loadIdentity } from '../mesh/index.ts'
import { createOwnUsage, type LimitSupport, limitSupport } from '../process/index.ts'
import { ControlService, createApiServer, createControlFront } from '../rpc/index.ts'
import { type AdminSource, createAdmin } from './admin/admin.ts'
import type { AdminServer } from './admin/server.ts'
import { createAttachments } from './attachments.ts'
import { controlService } from './control-service.ts'
import { dataDirLock } from './data-dir-lock.ts'
import { diagnoseNode } from './diagnose.ts'
import { createLiveSetup, type LiveSetup } from './live-setup.ts'
import { createNodeCore, type NodeCore, type NodeInfo } from './node-core.ts'
import {
  closeTools,
  connectParts,
  type Ground,
  makeParts,
  makeTools,
  type NodeSeams,
  type Parts,
  type Workshop,
} from './node-parts.ts'
import type { NodeSetup } from './node-setup.ts'
import { socketPath } from './paths.ts'
import { createReload } from './reload.ts'

/** A node that runs. */
export interface RunningNode {
  readonly core: NodeCore
  /** Resolves when somebody asked the node to end through its control API, with what becomes of its units. */
  readonly shutdownRequested: Promise<'stop' | 'keep'>
  /** Resolves when joining the mesh is over; at once for a node without one. */
  joined(): Promise<void>
  /** Drains, stops units in reverse dependency order, leaves the mesh. Twice is no error. */
  stop(): Promise<void>
  /** Ends without stopping units: the next node with this data directory adopts them. */
  abandon(): Promise<void>
}

/**
 * Starts one node. The floors below never import each other: whatever they share, they are handed here. `reread` reads
 * the configuration again, for a reload.
 *
 * @throws HsuError NODE_EXISTS when another node runs with the same data directory; what the parts throw. Whatever had
 * been started by then is stopped again.
 */
export async function startNode(
  seams: NodeSeams,
  setup: NodeSetup,
  reread: () => Promise<NodeSetup>,
): Promise<RunningNode> {
  const stack = serviceStack(`node ${setup.name}`)
  try {
    const { dataDir } = setup.paths
    await stack.begin(dataDirLock(seams.host.table, { dataDir, nodeName: setup.name, pid: seams.pid }))
    const store = fileStore(dataDir)
    const identity = await loadIdentity(store, seams.log)
    return await compose(seams, createLiveSetup(setup), reread, { stack, store, identity })
  } catch (error) {
    await stack
      .stop()
      .catch((cause: unknown) => seams.log.error('cannot undo a failed start', { cause: messageOf(cause) }))
    throw error
  }
}

async function compose(
  seams: NodeSeams,
  live: LiveSetup,
  reread: () => Promise<NodeSetup>,
  ground: Ground,
): Promise<RunningNode> {
  const { setup } = live
  const { clock, log } = seams
  const { stack, identity } = ground
  const socket = (file: string): string => socketPath(setup.paths, file, process.platform)
  const sockets = { control: socket('control.sock'), api: socket('api.sock') }
  const tools = await makeTools(seams, setup, ground, sockets)
  await stack.begin(atStop('tools', () => closeTools(tools)))
  const parts = makeParts(seams, setup, ground, { tools, sockets })
  const { ingress, linkServer, mesh, offers, supervisor, world } = parts
  connectParts(seams, setup, tools, parts)

  const variables = { nodeName: setup.name, dataDir: setup.paths.dataDir }
  const attachments = createAttachments({ clock, log, store: ground.store, supervisor, variables })
  const shutdown = deferred<'stop' | 'keep'>()
  const startedAtMs = clock.wallMs()
  const ownUsage = createOwnUsage({ clock, table: seams.host.table, startedAtMs }, seams.pid)
  const admin = adminOf(seams, setup, {
    node: { name: setup.name, version: setup.version, mesh: setup.mesh?.config.name ?? '', startedAtMs },
    instances: () => supervisor.status(),
    usage: ownUsage,
    isStopping: () => core.isStopping(),
  })
  const core = createNodeCore({
    ...parts,
    info: infoOf(seams, setup, { identity, controlSocket: sockets.control, startedAtMs }),
    attachments,
    clock,
    log,
    admin,
    ownUsage,
    events: tools.events,
    news: tools.news,
    control: tools.connection.client(ControlService),
    config: () => setup.config,
    reload: createReload({
      log,
      live,
      reread,
      supervisor: () => supervisor,
      changed: () => offers.refresh(),
      news: tools.news,
    }),
    diagnose: () => {
      const limits = (): Promise<readonly LimitSupport[]> => limitSupport(seams.host)
      return diagnoseNode({ ...parts, setup, admin, mesh: mesh.current(), limits, events: tools.events })
    },
    requestShutdown(actor, units) {
      core.beginStopping({ reason: `the node was asked to stop by ${actor}`, actor, details: { units } })
      shutdown.resolve(units)
    },
  })

  await stack.begin(createApiServer({ clock, log }, { socketPath: sockets.api }, [controlService(core)]))
  await stack.begin(ingress)
  if (linkServer !== undefined) await stack.begin(linkServer)
  await stack.begin(mesh)
  await stack.begin(atStop('offers', () => offers.stop()))
  tools.news.tell('node.starting', { details: { version: setup.version, pid: String(seams.pid) } })
  await stack.begin(supervisor)
  await supervisor.apply(setup.units)
  await attachments.restore()
  if (admin !== undefined) await stack.begin(admin)
  await stack.begin(controlFront(seams, setup, ground, { sockets, tools, world }))
  tools.news.tell('node.started', { details: { ingress: ingress.address(), pid: String(seams.pid) } })
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

function infoOf(
  { pid }: NodeSeams,
  { name, mesh, paths }: NodeSetup,
  known: Pick<Ground, 'identity'> & Pick<NodeInfo, 'controlSocket' | 'startedAtMs'>,
): NodeInfo {
  const { identity, controlSocket, startedAtMs } = known
  const { nodeId } = identity
  return { name, nodeId, mesh: mesh?.config.name, dataDir: paths.dataDir, controlSocket, pid, startedAtMs }
}

function controlFront(
  { clock, log }: NodeSeams,
  { name }: NodeSetup,
  { identity }: Ground,
  { sockets, tools, world }: Workshop & Pick<Parts, 'world'>,
): Service {
  return createControlFront(
    { clock, log, linkOf: world.linkOf, named: world.named },
    {
      socketPath: sockets.control,
      apiSocketPath: sockets.api,
      nodeId: identity.nodeId,
      nodeName: name,
      certificate: tools.certificate,
    },
  )
}

function adminOf(seams: NodeSeams, { listen }: NodeSetup, source: AdminSource): AdminServer | undefined {
  return listen.admin === 'off' ? undefined : createAdmin(seams, listen.admin, source)
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

function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
