import { fromBinary } from '@bufbuild/protobuf'
import { LRUCache } from 'lru-cache'
import { HsuError } from '../base/error.ts'
import { type Connection, connect, encode, only } from './client.ts'
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from './gen/grpc/health/v1/health_pb.ts'
import { justOne } from './message-stream.ts'
import { createReflectionClient } from './reflection-client.ts'

/** Asks units how they are, over gRPC. Every check is a connection of its own, as a new caller would make it. */
export interface GrpcProber {
  /**
   * True when the unit at `address` (`host:port` or `unix:/path`) is well. Never rejects: no answer is an answer,
   * and so is `signal` aborting before one came.
   *
   * `what` is `ladder`: the first of `hsu.unit.v1`, `grpc.health.v1` and `proto.CoreService/Ping` that is offered,
   * or else that gRPC is answered at all; `/pkg.Service/Method`: that unary method with an empty request;
   * anything else: `grpc.health.v1` of a service of that name, '' being the server itself.
   */
  check(address: string, what: string, signal: AbortSignal): Promise<boolean>
  /**
   * Full names of the business services at `address` by server reflection, sorted; none when it is not offered.
   * @throws HsuError `NODE_UNREACHABLE`, `NOT_STARTED`, `CANCELLED` and others when the server does not answer.
   */
  services(address: string, signal: AbortSignal): Promise<string[]>
  /** Ends what is under way. */
  close(): void
}

type Outcome = 'passing' | 'failing' | 'not offered'
type Rung = (connection: Connection, signal: AbortSignal) => Promise<Outcome>

const EMPTY = new Uint8Array()

const HEALTH_PATH = '/grpc.health.v1.Health/Check'

/** DESIGN section 2. What a unit does not offer says nothing about its health. */
const LADDER: readonly Rung[] = [
  (connection, signal) => callEmpty(connection, '/hsu.unit.v1.UnitService/GetInfo', signal),
  (connection, signal) => checkHealth(connection, '', signal),
  (connection, signal) => callEmpty(connection, '/proto.CoreService/Ping', signal),
]

/** Services that callers are not sent to: gRPC's own, and the core APIs of units. */
const HOUSEKEEPING = /^grpc\.|^hsu\.unit\.|^proto\.CoreService$/

/** More units than a node ever runs; the rung of one that is forgotten is found again. */
const MAX_REMEMBERED = 1_000

/** A prober over real connections. */
export function createGrpcProber(): GrpcProber {
  /** The rung that an address stood on last. */
  const rungs = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  const open = new Set<Connection>()

  async function withConnection<T>(address: string, task: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = connect(address)
    open.add(connection)
    try {
      return await task(connection)
    } finally {
      open.delete(connection)
      connection.close()
    }
  }

  async function climb(connection: Connection, signal: AbortSignal): Promise<boolean> {
    const address = connection.target
    for (let rung = rungs.get(address) ?? 0; rung < LADDER.length; rung += 1) {
      const outcome = await (LADDER[rung] as Rung)(connection, signal)
      if (outcome === 'not offered') continue
      // A unit that went down may come back as another version that offers more.
      if (outcome === 'failing') rungs.delete(address)
      else rungs.set(address, rung)
      return outcome === 'passing'
    }
    // Each answer was 'not offered', but answers they were. The last rung is asked next time, for an answer's sake.
    rungs.set(address, LADDER.length - 1)
    return true
  }

  return {
    check: (address, what, signal) =>
      withConnection(address, async (connection) => {
        if (what === 'ladder') return climb(connection, signal)
        const outcome = what.startsWith('/')
          ? await callEmpty(connection, what, signal)
          : await checkHealth(connection, what, signal)
        return outcome === 'passing'
      }),

    services: (address, signal) =>
      withConnection(address, async (connection) => {
        const names = await createReflectionClient(connection, { signal }).services().catch(noneIfNotOffered)
        return names.filter((name) => !HOUSEKEEPING.test(name)).sort()
      }),

    close() {
      for (const connection of open) connection.close()
    },
  }
}

function callEmpty(connection: Connection, path: string, signal: AbortSignal): Promise<Outcome> {
  return outcomeOf(async () => {
    await only(connection.call(path, justOne(EMPTY), { signal }), path)
    return true
  })
}

function checkHealth(connection: Connection, service: string, signal: AbortSignal): Promise<Outcome> {
  return outcomeOf(async () => {
    const request = encode(HealthCheckRequestSchema, { service })
    const bytes = await only(connection.call(HEALTH_PATH, justOne(request), { signal }), HEALTH_PATH)
    return fromBinary(HealthCheckResponseSchema, bytes).status === Serving.SERVING
  })
}

async function outcomeOf(task: () => Promise<boolean>): Promise<Outcome> {
  try {
    return (await task()) ? 'passing' : 'failing'
  } catch (thrown) {
    return isNotOffered(thrown) ? 'not offered' : 'failing'
  }
}

function noneIfNotOffered(thrown: unknown): readonly string[] {
  if (isNotOffered(thrown)) return []
  throw thrown
}

function isNotOffered(thrown: unknown): boolean {
  return thrown instanceof HsuError && thrown.status === 'UNIMPLEMENTED'
}
