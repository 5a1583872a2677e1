import { messageOf } from '../base/error.ts'
import { type Service, serviceStack } from '../base/lifecycle.ts'
import { loadIdentity } from '../mesh/index.ts'
import { createOwnUsage, type LimitSupport, limitSupport } from '../process/index.ts'
import { type CallDoors, ControlService, type Door } from '../rpc/index.ts'
import type { AdminSource } from './admin/admin.ts'
import type { AdminServer } from './admin/server.ts'
import { untilAsBefore } from './as-before.ts'
import { createAccessLog } from './calls/access-log.ts'
import { createSpanExport } from './calls/span-export.ts'
import { createAttachments } from './attachments.ts'
import { connectParts } from './connect-parts.ts'
import { controlService } from './control-service.ts'
import { diagnoseNode } from './diagnose.ts'
import { adopted, replaced, standingNow, takePlace, takeUnits } from './hand-over.ts'
import { createLiveSetup, type LiveSetup } from './live-setup.ts'
import { createNodeCore, lineContext, type NodeCore, type NodeInfo } from './node-core.ts'
import { closeTools, makeParts, makeTools, takeoverOf, type Workshop } from './node-parts.ts'
import type { NodeSetup } from './node-setup.ts'
import type { Outside } from './outside.ts'
import type { Ground, Parts } from './parts.ts'
import { socketPath } from './paths.ts'
import { createReload } from './reload.ts'
import type { Predecessor, SpawnSuccessor } from './succession.ts'
import { createUpgrade } from './upgrade.ts'

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
  /** Resolves when another process has taken the place of this one, with how long calls under way may go on here. */
  readonly replaced: Promise<number>
  /** Ends what is left here after that: lets calls under way end for `drainMs`. */
  retire(drainMs: number): Promise<void>
}

/** Streams of the control API have no end of their own: they are cut after this, and can be opened again at once. */
const CONTROL_DRAIN_MS = 1_000

export interface StartOptions {
  /** Reads the configuration again, for a reload. */
  readonly reread: () => Promise<NodeSetup>
  /** The process whose place this one takes; undefined for a node that starts by itself. */
  readonly predecessor?: Predecessor | undefined
  /** How another process is started that takes this one's place; undefined: it cannot be replaced. */
  readonly spawnSuccessor?: SpawnSuccessor | undefined
}

/**
 * Starts one node. The floors below never import each other: whatever they share, they are handed here.
 *
 * @throws HsuError NODE_EXISTS when another node runs with the same data directory; what the parts throw. Whatever had
 * been started by then is stopped again, save what a predecessor will go on with.
 */
export async function startNode(seams: Outside, setup: NodeSetup, options: StartOptions): Promise<RunningNode> {
  const stack = serviceStack(`node ${setup.name}`)
  try {
    const { dataDir } = setup.paths
    const legacy = options.predecessor && (await takeUnits(options.predecessor, setup))
    const lock = seams.disk.lock({ dataDir, nodeName: setup.name, pid: seams.pid })
    await stack.begin(lock)
    const store = seams.disk.store(dataDir)
    const identity = await loadIdentity(store, seams.log)
    return await compose(seams, createLiveSetup(setup), options, { stack, store, identity, lock, legacy })
  } catch (error) {
    await stack
      .stop()
      .catch((cause: unknown) => seams.log.error('cannot undo a failed start', { cause: messageOf(cause) }))
    throw error
  }
}

async function compose(seams: Outside, live: LiveSetup, options: StartOptions, ground: Ground): Promise<RunningNode> {
  const { setup } = live
  const { stack, legacy } = ground
  const socket = (file: string): string => socketPath(setup.paths, file, process.platform)
  const sockets = { control: socket('control.sock'), api: socket('api.sock') }
  const tools = await makeTools(seams, setup, ground, sockets)
  await stack.begin(atStop('tools', () => closeTools(tools)))
  if (tools.link !== undefined) await stack.begin(tools.link)
  const workshop = { tools, sockets }
  const parts = makeParts(seams, setup, ground, workshop)
  const { ingress, direct, linkServer, mesh, offers, supervisor, activation, unitDoors } = parts
  connectParts(seams, setup, tools, parts)
  const endings = { shutdown: deferred<'stop' | 'keep'>(), replaced: deferred<number>() }
  const core = makeCore(seams, live, options, ground, { ...workshop, parts, endings })
  const { admin, attachments } = core

  const api = seams.servers.api(seams, { socketPath: sockets.api, takeover: legacy !== undefined }, [
    controlService(core),
  ])
  const front = controlFront(seams, setup, ground, { ...workshop, world: parts.world })
  const forCalls = [api, ingress, direct, ...(linkServer === undefined ? [] : [linkServer])]
  const forPeople = [...(admin === undefined ? [] : [admin]), front]
  try {
    for (const log of callLogs(seams, setup, ground, parts)) await stack.begin(log)
    await stack.begin(parts.services)
    await stack.begin(parts.names)
    for (const door of forCalls) await stack.begin(door)
    await stack.begin(legacy === undefined ? mesh : atStop('mesh', () => mesh.stop()))
    await stack.begin(atStop('offers', () => offers.stop()))
    tools.news.tell('node.starting', { details: { version: setup.version, pid: String(seams.pid) } })
    await parts.partition?.begin()
    await stack.begin(atStop('partition', () => parts.partition?.end()))
    await stack.begin(supervisor)
    await supervisor.apply(setup.units)
    await attachments.restore()
    await stack.begin(activation)
    await stack.begin(unitDoors)
    parts.names.begin()
    const now = standingNow(seams.clock, parts)
    direct.answerAfter((signal) => untilAsBefore(adopted(parts, core.info.startedAtMs), now, signal))
    for (const door of forPeople) await stack.begin(door)
    if (options.predecessor !== undefined && legacy !== undefined) {
      await takePlace(options.predecessor, legacy, seams, parts)
      for (const door of [...forCalls, unitDoors, ...forPeople]) await door.open()
      await options.predecessor.serves()
    }
  } catch (error) {
    // The process before this one goes on with the units.
    if (legacy !== undefined) await Promise.all([supervisor.abandon(), mesh.suspend()])
    throw error
  }
  tools.news.tell('node.started', { details: { ingress: ingress.address(), pid: String(seams.pid) } })
  return {
    core,
    shutdownRequested: endings.shutdown.promise,
    replaced: endings.replaced.promise,
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
    async retire(drainMs) {
      const people = forPeople.map((door) => door.retire(CONTROL_DRAIN_MS))
      const calls = [ingress, direct, unitDoors, ...(linkServer === undefined ? [] : [linkServer])]
      await Promise.all([...people, ...calls.map((door) => door.retire(drainMs))])
      await stack.stop()
    },
  }
}

interface CoreNeeds extends Workshop {
  readonly parts: Parts
  readonly endings: Endings
}

interface Endings {
  readonly shutdown: Deferred<'stop' | 'keep'>
  readonly replaced: Deferred<number>
}

function makeCore(
  seams: Outside,
  live: LiveSetup,
  { reread, spawnSuccessor }: StartOptions,
  ground: Ground,
  { tools, sockets, parts, endings }: CoreNeeds,
): NodeCore {
  const { setup } = live
  const { clock, log } = seams
  const { mesh, offers, supervisor, unitDoors } = parts
  const changed = (): void => {
    offers.refresh()
    unitDoors.refresh()
  }
  const { events, news } = tools
  const startedAtMs = clock.wallMs()
  const variables = { nodeName: setup.name, dataDir: setup.paths.dataDir }
  const attachments = createAttachments({ clock, log, store: ground.store, supervisor, variables })
  const ownUsage = createOwnUsage({ clock, table: seams.host.table, startedAtMs }, seams.pid)
  const admin = adminOf(seams, setup, ground, {
    node: { name: setup.name, version: setup.version, mesh: setup.mesh?.config.name ?? '', startedAtMs },
    instances: () => supervisor.status(),
    usage: ownUsage,
    calls: () => seams.servers.calls(),
    faults: () => seams.servers.faults(),
    isStopping: () => core.isStopping(),
  })
  const core = createNodeCore({
    ...parts,
    info: infoOf(seams, setup, { identity: ground.identity, controlSocket: sockets.control, startedAtMs }),
    attachments,
    clock,
    log,
    admin,
    ownUsage,
    calls: () => seams.servers.calls(),
    watchCalls: (interest, listener) => seams.servers.watch(interest, listener),
    events,
    news,
    control: tools.connection.client(ControlService),
    config: () => setup.config,
    reload: createReload({ log, live, reread, supervisor: () => supervisor, changed, news }),
    upgrade: createUpgrade({
      log,
      news,
      spawn: spawnSuccessor,
      node: replaced(seams, setup, ground, { tools, parts, admin, attachments }),
      done: endings.replaced.resolve,
      lost: () => endings.shutdown.resolve('keep'),
    }),
    diagnose: () => {
      const limits = (): Promise<readonly LimitSupport[]> => limitSupport(seams.host)
      return diagnoseNode({ ...parts, setup, admin, mesh: mesh.current(), limits, events })
    },
    requestShutdown(actor, units) {
      core.refuseWhenReplaced()
      core.beginStopping({ reason: `the node was asked to stop by ${actor}`, actor, details: { units } })
      endings.shutdown.resolve(units)
    },
  })
  return core
}

function controlFront(
  { clock, log, servers }: Outside,
  { name }: NodeSetup,
  { identity, legacy }: Ground,
  { sockets, tools, world }: Workshop & Pick<Parts, 'world'>,
): Door {
  return servers.front(
    { clock, log, linkOf: world.linkOf, named: world.named },
    {
      socketPath: sockets.control,
      apiSocketPath: sockets.api,
      nodeId: identity.nodeId,
      nodeName: name,
      certificate: tools.link?.certificate,
      takeover: legacy !== undefined,
    },
  )
}

function adminOf(
  seams: Outside,
  { listen }: NodeSetup,
  { legacy }: Ground,
  source: AdminSource,
): AdminServer | undefined {
  if (listen.admin === 'off') return undefined
  return seams.servers.admin(seams, { listen: listen.admin, ...takeoverOf(legacy?.handles, 'admin') }, source)
}

function infoOf(
  { pid }: Outside,
  { name, mesh, paths }: NodeSetup,
  known: Pick<Ground, 'identity'> & Pick<NodeInfo, 'controlSocket' | 'startedAtMs'>,
): NodeInfo {
  const { identity, controlSocket, startedAtMs } = known
  const { nodeId } = identity
  return {
    name,
    nodeId,
    mesh: mesh?.config.name,
    meshKeyFile: mesh?.keyFile,
    dataDir: paths.dataDir,
    controlSocket,
    pid,
    startedAtMs,
  }
}

/** What is written down of calls, and sent; ends after them. */
function callLogs(
  { clock, random, log, disk, network, servers }: Outside,
  { name, version, accessLog, traces }: NodeSetup,
  { identity }: Pick<Ground, 'identity'>,
  { world }: Pick<Parts, 'world'>,
): readonly Service[] {
  const watch: CallDoors['watch'] = (interest, listener) => servers.watch(interest, listener)
  const context = lineContext(name, world)
  const logs: Service[] = []
  if (accessLog !== undefined) {
    const { sample } = accessLog
    logs.push(createAccessLog({ clock, log, watch, file: disk.lineFile(accessLog) }, { sample, ...context }))
  }
  if (traces !== undefined) {
    const post = network.post(traces.url, traces.headers)
    const who = { ...context, nodeId: identity.nodeId, version }
    logs.push(createSpanExport({ clock, random, log, watch, post }, who))
  }
  return logs
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

interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
