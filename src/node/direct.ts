import { isIP } from 'node:net'
import { join } from 'node:path'
import { withSignal } from '../base/abort.ts'
import { within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { createTaskGroup } from '../base/task-group.ts'
import {
  bootstrapJson,
  DEFAULT_ROUTE,
  type Door,
  type DoorHandle,
  type EndpointSource,
  slotOf,
  type Takeover,
} from '../rpc/index.ts'
import { hostPort, splitHostPort } from './link-addresses.ts'
import type { NodeSetup } from './node-setup.ts'
import type { Outside } from './outside.ts'
import { MAX_SETTLING_MS } from './own-names.ts'

export interface DirectSeams extends Pick<Outside, 'clock' | 'random' | 'log' | 'servers' | 'disk'> {
  readonly endpoints: EndpointSource
  readonly isDraining: (instance: string) => boolean
  /** Known once the ingress listens. */
  readonly ingressAddress: () => string
}

/** Who wants to be an xDS client; undefined fields: a program that is no unit. */
export interface UnitClient {
  readonly unit?: string
  readonly instance?: string
}

/** How calls get from programs of this host to units of it without passing through the node. */
export interface DirectPart extends Door {
  /** Where it listens besides the socket; undefined: nowhere. */
  address(): string | undefined
  handle(): DoorHandle | undefined
  /** What a program needs in its environment, to know of it. Empty when there is no way for it. */
  environment(client: UnitClient): Readonly<Record<string, string>>
  /** Clients are answered once `ready` resolves, or after 5 s: until then they go on with what the node before this one said. */
  answerAfter(ready: (signal: AbortSignal) => Promise<void>): void
  /** Clients are told of changes of the world. */
  refresh(): void
  /** Resolves when clients have taken what they were told of an instance of this unit, or `timeoutMs` has passed. */
  settled(names: readonly string[], timeoutMs: number): Promise<void>
  /** Calls to an instance of this node as clients report them, about a second late. */
  callsOf(unit: string, instance: string): CallsSeen
}

/** Calls to an instance, as far as they are seen. */
export interface CallsSeen {
  readonly inFlight: number
  /** So far. */
  readonly total: number
}

export interface DirectConfig {
  readonly nodeId: string
  readonly takeover?: Takeover
}

/** Name of the bootstrap file in the runtime directory. */
const BOOTSTRAP_FILE = 'xds.json'

const SOCKET_FILE = 'xds.sock'

/** The control plane of direct calls, the file by which clients find it, and what units are told of that. */
export function createDirect(seams: DirectSeams, setup: NodeSetup, { nodeId, takeover }: DirectConfig): DirectPart {
  const { clock, random, log, servers, disk, endpoints, isDraining, ingressAddress } = seams
  const { name, labels, paths, listen } = setup
  const zone = labels['zone'] ?? ''
  const socketPath = process.platform === 'win32' ? undefined : join(paths.runtimeDir, SOCKET_FILE)
  const file = join(paths.runtimeDir, BOOTSTRAP_FILE)
  const tasks = createTaskGroup((error) => log.error('xDS clients are answered too early', { cause: messageOf(error) }))
  const xds = servers.xds(
    {
      ...{ clock, random, log, endpoints, isDraining, nodeId },
      routeOf: (unit) => setup.routeOf(unit) ?? DEFAULT_ROUTE,
      viewpoint: () => ({ node: name, zone, ingress: literal(ingressAddress()) }),
    },
    {
      socketPath,
      listen: listen.xds === 'off' ? undefined : listen.xds,
      held: takeover === undefined,
      ...(takeover && { takeover }),
    },
  )

  const bootstrap = (server: string, client: string): string =>
    bootstrapJson({ server, client, mesh: setup.mesh?.config.name ?? '', node: name, zone })

  async function writeBootstrap(): Promise<void> {
    const server = socketPath === undefined ? loopback() : `unix://${socketPath}`
    if (server !== undefined) await disk.replaceFile(file, bootstrap(server, name))
  }

  const loopback = (): string | undefined => {
    const address = xds.address()
    return address === undefined ? undefined : literal(address)
  }

  return {
    name: 'xds',
    callsOf(unit, instance) {
      const places = [slotOf(instance), unit]
      const sum = (count: (place: string) => number): number => places.reduce((all, place) => all + count(place), 0)
      return { inFlight: sum((place) => xds.calls.inFlight(place)), total: sum((place) => xds.calls.total(place)) }
    },
    address: () => xds.address(),
    handle: () => xds.handle(),
    answerAfter: (ready) =>
      tasks.run(async (signal) => {
        const waited = withSignal(signal, (waiting) => within(clock, MAX_SETTLING_MS, ready(waiting)))
        await waited.catch(() => undefined)
        xds.answer()
      }),
    refresh: () => xds.refresh(),
    settled: (names, timeoutMs) => xds.settled(names, timeoutMs),
    async start() {
      await xds.start()
      if (takeover === undefined) await writeBootstrap()
    },
    async open() {
      await xds.open()
      await writeBootstrap()
    },
    retire: (graceMs) => xds.retire(graceMs),
    async stop() {
      await tasks.stop()
      await xds.stop()
    },
    environment({ unit, instance }) {
      const isOther = unit !== undefined && userOf(setup, unit) !== undefined
      const server = loopback()
      // Another user reads neither the file nor the socket.
      if (!isOther) return socketPath === undefined && server === undefined ? {} : { GRPC_XDS_BOOTSTRAP: file }
      return server === undefined ? {} : { GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap(server, instance ?? name) }
    },
  }
}

function userOf({ units }: NodeSetup, unit: string): string | undefined {
  return units.find(({ name }) => name === unit)?.config.user
}

/** How clients of this host reach a door: they take nothing but a literal IP address. */
function literal(address: string): string {
  const { host, port } = splitHostPort(address)
  if (host === '0.0.0.0') return `127.0.0.1:${port}`
  if (host === '::') return `[::1]:${port}`
  return isIP(host) === 0 ? `127.0.0.1:${port}` : hostPort(host, port)
}
