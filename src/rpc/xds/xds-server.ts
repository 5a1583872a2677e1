import type { ServerHttp2Stream } from 'node:http2'
import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import { createWake } from '../../base/wake.ts'
import { type CallListener, createListener, type Takeover } from '../call-listener.ts'
import type { Door, DoorHandle } from '../door.ts'
import { AdsClients } from './ads-clients.ts'
import { Catalog, type CatalogSources } from './catalog.ts'
import { type GrpcStream, refuse, serveStream } from './grpc-stream.ts'
import { type DirectCalls, LoadBook } from './load-book.ts'
import { serveLoadReports } from './load-reports.ts'
import { StreamConnections } from './stream-connections.ts'

export interface XdsServerSeams extends CatalogSources {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface XdsServerConfig {
  /** Made with mode 0600; undefined where gRPC clients know no unix sockets. */
  readonly socketPath: string | undefined
  /** `host:port`; undefined: only the socket. */
  readonly listen: string | undefined
  /** Of the port; with it, the socket is replaced too once `open` is called. */
  readonly takeover?: Takeover
  /** Says nothing before `answer`: clients of the node before this one go on with what they know. */
  readonly held?: boolean
}

/** Tells gRPC clients of this host where services are, so that their calls go straight there: xDS v3 (ADS and LRS). */
export interface XdsServer extends Door {
  /** The real `host:port`; undefined when it serves the socket only. */
  address(): string | undefined
  handle(): DoorHandle | undefined
  /** From now on clients are answered. */
  answer(): void
  /** The world has changed: clients are told, at most every 10 ms. */
  refresh(): void
  /** Resolves when the clients of a service or unit have taken what they were told of it, or `timeoutMs` has passed. */
  settled(names: readonly string[], timeoutMs: number): Promise<void>
  readonly calls: DirectCalls
}

/** Between two rounds of telling: changes in between are told together. */
const ROUND_MS = 10

/** Streams never end by themselves: what is left of them is ended with the node. */
const GRACE_MS = 100

/** Streams at once over all clients. C-core opens one per target. */
const MAX_STREAMS = 4_096

const ADS_PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources'
const LRS_PATH = '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats'

export function createXdsServer(seams: XdsServerSeams, config: XdsServerConfig): XdsServer {
  const { socketPath, listen, takeover } = config
  const { clock, log } = seams
  const catalog = new Catalog(seams)
  const book = new LoadBook()
  const streams = new Set<GrpcStream>()
  const changed = createWake()
  let tasks = createTaskGroup(onTaskError)
  let isHeld = config.held ?? false
  const incarnation = incarnationOf(seams.random)
  const clients = new AdsClients({ clock, log, catalog, incarnation, mayAnswer: () => !isHeld })

  const onStream = (stream: ServerHttp2Stream, path: string): void => {
    if (streams.size >= MAX_STREAMS) refuseMore(stream)
    else if (path === ADS_PATH) begin((closed) => clients.serve(stream, closed))
    else if (path === LRS_PATH) begin((closed) => serveLoadReports(stream, { book, clock }, closed))
    else refuse(stream, path)
  }
  const listenerOf = (address: string, from: Takeover | undefined): CallListener =>
    createListener(new StreamConnections(clock, onStream), seams, {
      name: 'xds',
      listen: address,
      ...(from && { takeover: from }),
    })
  const socket =
    socketPath === undefined ? undefined : listenerOf(`unix:${socketPath}`, takeover && { handle: undefined })
  const port = listen === undefined ? undefined : listenerOf(listen, takeover)
  const listeners = [socket, port].filter((listener) => listener !== undefined)

  function begin(serve: (closed: () => void) => GrpcStream): void {
    const grpc = serve(() => streams.delete(grpc))
    streams.add(grpc)
  }

  /** Tells all clients what has changed, again and again. */
  async function tell(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', changed.notify, { once: true })
    while (!signal.aborted) {
      await changed.wait()
      clients.sync()
      await clock.sleep(ROUND_MS, signal).catch(() => undefined)
    }
  }

  function onTaskError(error: unknown): void {
    log.error('xDS clients are not told of changes any more', { cause: messageOf(error) })
  }

  async function end(graceMs: number): Promise<void> {
    for (const stream of streams) stream.fail(new HsuError('NOT_STARTED', 'the node is stopping'))
    await Promise.all(listeners.map((listener) => listener.stop(graceMs)))
    await tasks.stop()
  }

  return {
    name: 'xds',
    calls: book,
    address: () => port?.address(),
    handle: () => port?.handle(),
    answer() {
      isHeld = false
      changed.notify()
    },
    refresh() {
      catalog.refresh()
      changed.notify()
    },
    async start() {
      tasks = createTaskGroup(onTaskError)
      tasks.run(tell)
      for (const listener of listeners) await listener.start()
    },
    async open() {
      for (const listener of listeners) await listener.open()
    },
    retire: (graceMs) => end(Math.min(graceMs, GRACE_MS)),
    stop: () => end(GRACE_MS),
    settled: (names, timeoutMs) => clients.settled(names, timeoutMs),
  }
}

/** Differs from one run of a node to the next. */
function incarnationOf(random: Random): string {
  return Math.floor(random.next() * 36 ** 8).toString(36)
}

function refuseMore(stream: ServerHttp2Stream): void {
  serveStream(stream, { onMessage: () => undefined, onDrained: () => undefined, onClosed: () => undefined }).fail(
    new HsuError('QUEUE_FULL', `more than ${MAX_STREAMS} streams`),
  )
}
