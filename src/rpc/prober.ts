import { fromBinary } from '@bufbuild/protobuf'
import { LRUCache } from 'lru-cache'
import { HsuError, messageOf } from '../base/error.ts'
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
  /** As `check`, but says in words why the unit is not well; '' when it is. */
  faultOf(address: string, what: string, signal: AbortSignal): Promise<string>
  /**
   * Full names of the business services at `address` by server reflection, sorted; none when it is not offered.
   * @throws HsuError `NODE_UNREACHABLE`, `NOT_STARTED`, `CANCELLED` and others when the server does not answer.
   */
  services(address: string, signal: AbortSignal): Promise<string[]>
  /** Ends what is under way. */
  close(): void
}

interface Outcome {
  readonly verdict: 'passing' | 'failing' | 'not offered'
  /** Why it is not passing, in words. */
  readonly fault: string
}
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

  async function climb(connection: Connection, signal: AbortSignal): Promise<string> {
    const address = connection.target
    for (let rung = rungs.get(address) ?? 0; rung < LADDER.length; rung += 1) {
      const outcome = await (LADDER[rung] as Rung)(connection, signal)
      if (outcome.verdict === 'not offered') continue
      // A unit that went down may come back as another version that offers more.
      if (outcome.verdict === 'failing') rungs.delete(address)
      else rungs.set(address, rung)
      return outcome.fault
    }
    // Each answer was 'not offered', but answers they were. The last rung is asked next time, for an answer's sake.
    rungs.set(address, LADDER.length - 1)
    return ''
  }

  const faultOf: GrpcProber['faultOf'] = (address, what, signal) =>
    withConnection(address, async (connection) => {
      if (what === 'ladder') return climb(connection, signal)
      const { fault } = what.startsWith('/')
        ? await callEmpty(connection, what, signal)
        : await checkHealth(connection, what, signal)
      return fault
    })

  return {
    faultOf,
    check: async (address, what, signal) => (await faultOf(address, what, signal)) === '',

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
  return outcomeOf(path, async () => {
    await only(connection.call(path, justOne(EMPTY), { signal }), path)
    return ''
  })
}

function checkHealth(connection: Connection, service: string, signal: AbortSignal): Promise<Outcome> {
  return outcomeOf(HEALTH_PATH, async () => {
    const request = encode(HealthCheckRequestSchema, { service })
    const bytes = await only(connection.call(HEALTH_PATH, justOne(request), { signal }), HEALTH_PATH)
    const { status } = fromBinary(HealthCheckResponseSchema, bytes)
    return status === Serving.SERVING
      ? ''
      : `its health is ${(Serving[status] as string | undefined) ?? String(status)}`
  })
}

/** `task` gives what is wrong, or '' for nothing. */
async function outcomeOf(path: string, task: () => Promise<string>): Promise<Outcome> {
  try {
    const fault = await task()
    return { verdict: fault === '' ? 'passing' : 'failing', fault }
  } catch (thrown) {
    if (isNotOffered(thrown)) return { verdict: 'not offered', fault: `${path} is not offered` }
    return { verdict: 'failing', fault: messageOf(thrown) || 'no answer' }
  }
}

function noneIfNotOffered(thrown: unknown): readonly string[] {
  if (isNotOffered(thrown)) return []
  throw thrown
}

function isNotOffered(thrown: unknown): boolean {
  return thrown instanceof HsuError && thrown.status === 'UNIMPLEMENTED'
}
