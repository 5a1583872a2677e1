import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Door, socketPlace } from './door.ts'
import { cannotListen, makeRoom } from './socket-room.ts'
import { Health } from './gen/grpc/health/v1/health_pb.ts'
import { healthService } from './health-service.ts'
import { reflectionServices } from './reflection-service.ts'
import { answer, type ServerCall } from './server-call.ts'
import type { ServiceImplementation } from './service.ts'

/** What an API server needs of its surroundings. */
export interface ApiServerSeams {
  readonly clock: Clock
  readonly log: Log
}

/** Where an API server listens. */
export interface ApiServerConfig {
  /** Absolute, at most 107 bytes; made with mode 0600 in a directory that is made (0700) when absent. */
  readonly socketPath: string
  /** Replaces the socket of the process before this one, once `open` is called. */
  readonly takeover?: boolean
}

/** Calls under way get this long to end by themselves at `stop()`. */
const GRACE_MS = 1_000

/** Requests of the control API are small; gRPC's usual limit. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024

/** A client that opens calls without end holds up only itself. */
const MAX_STREAMS_PER_CONNECTION = 1_000

const SERVER_OPTIONS = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
  'grpc.enable_channelz': 0,
}

/**
 * A gRPC server on a unix socket that offers `services`, server reflection (v1 and v1alpha) and `grpc.health.v1`.
 *
 * `start()` replaces a socket that nobody listens on. @throws HsuError `NODE_EXISTS` when somebody does,
 * `CONFIG_INVALID` when no socket can be made at the path. `stop()` lets calls end for a second, then ends them.
 */
export function createApiServer(
  { clock, log }: ApiServerSeams,
  { socketPath, takeover = false }: ApiServerConfig,
  services: readonly ServiceImplementation[],
): Door {
  /** Aborted when no new calls come in, and when those under way have had their time. */
  let stopping = new AbortController()
  let closing = new AbortController()
  let server: Server | undefined
  const calls = new Set<Promise<void>>()
  const place = socketPlace(socketPath)

  async function start(): Promise<void> {
    await makeRoom(socketPath, !takeover)
    if (!takeover) await open()
  }

  async function open(): Promise<void> {
    if (server !== undefined) return
    stopping = new AbortController()
    closing = new AbortController()
    server = new Server(SERVER_OPTIONS)
    for (const implementation of withStandardServices(services, stopping.signal)) {
      register(server, implementation, { calls, closing: closing.signal, log })
    }
    await bind(server, place.aside, socketPath)
    await place.occupy()
  }

  async function stop(): Promise<void> {
    await place.vacate()
    const stopped = server
    if (stopped === undefined) return
    server = undefined
    stopping.abort()
    const shutDown = new Promise<void>((resolve) => stopped.tryShutdown(() => resolve()))
    await within(clock, GRACE_MS, shutDown)
    closing.abort()
    const ended = await within(clock, GRACE_MS, Promise.all([shutDown, ...calls]))
    stopped.forceShutdown()
    if (ended === TIMED_OUT) log.warn('calls did not end when their server stopped', { calls: calls.size })
  }

  return { name: 'api server', start, open, stop, retire: stop }
}

function withStandardServices(
  services: readonly ServiceImplementation[],
  stopping: AbortSignal,
): readonly ServiceImplementation[] {
  const names = services.map(({ name }) => name)
  const described = [...services.map(({ service }) => service), Health]
  return [...services, healthService(names, stopping), ...reflectionServices(described)]
}

interface Calls {
  /** Those under way. */
  readonly calls: Set<Promise<void>>
  readonly closing: AbortSignal
  readonly log: Log
}

/** All methods are registered as streams both ways: on the wire the kinds do not differ, and `answer` knows them. */
function register(server: Server, implementation: ServiceImplementation, { calls, closing, log }: Calls): void {
  for (const method of implementation.service.methods) {
    const handle = answer(implementation, method, log, closing)
    const handler = (call: ServerCall): void => {
      const handling: Promise<void> = handle(call).finally(() => calls.delete(handling))
      calls.add(handling)
    }
    const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    server.register(`/${implementation.name}/${method.name}`, handler, asBuffer, (bytes) => bytes, 'bidi')
  }
}

function bind(server: Server, path: string, socketPath: string): Promise<void> {
  // grpc-js writes a line of its own about a failure that is ours to report; who asked it to talk still hears it.
  if (process.env['GRPC_VERBOSITY'] === undefined) setLogVerbosity(logVerbosity.NONE)
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (cause) => {
      if (cause === null) resolve()
      else reject(cannotListen(socketPath, systemFault(cause.message), cause))
    })
  })
}

/** What the system said, which grpc-js wraps: `No address added out of total 1 resolved errors: [listen EACCES: ...]`. */
function systemFault(message: string): string {
  return /\[(.+)\]/.exec(message)?.[1] ?? message
}
