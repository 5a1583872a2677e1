import { type EventEmitter, once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type StatusObject,
} from '@grpc/grpc-js'
import { systemClock } from '../../src/base/system-clock.ts'
import type { EndpointSource } from '../../src/rpc/endpoint-source.ts'
import { createIngress, type Ingress, type IngressConfig, type IngressSeams } from '../../src/rpc/ingress.ts'
import { SERVICE } from './literal-world.ts'
import { memoryLog } from './memory-log.ts'
import { seeded } from '../../src/sim/seeded.ts'

/** The part of a test that a rig needs: to put away what it set up. */
export interface Rig {
  teardown(task: () => unknown): void
}

/** An ingress on a free port, stopped when the test ends. */
export async function startIngress(
  t: Rig,
  world: EndpointSource,
  seams: Partial<IngressSeams> = {},
  config: Partial<IngressConfig> = {},
): Promise<Ingress> {
  const ingress = createIngress(
    { clock: systemClock, random: seeded(1), log: memoryLog(), endpoints: world, linkOf: () => undefined, ...seams },
    { listen: '127.0.0.1:0', nodeId: 'self', certificate: undefined, graceMs: 100, ...config },
  )
  t.teardown(() => ingress.stop())
  await ingress.start()
  return ingress
}

/** A bare HTTP/2 server whose every stream goes to `handle`. */
export interface RawBackend {
  readonly address: string
  readonly port: number
  readonly sessions: Set<ServerHttp2Session>
  /** Cuts all connections and stops listening, as a killed process does. */
  kill(): Promise<void>
}

export type RawHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]) => void

export async function rawBackend(
  t: Rig,
  handle: RawHandler,
  options: { port?: number; settings?: Settings; path?: string } = {},
): Promise<RawBackend> {
  const server = createServer({
    settings: options.settings ?? {},
    maxHeaderListPairs: 1_000,
    maxSendHeaderBlockLength: 1 << 20,
  })
  const sockets = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
  })
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    session.on('error', () => undefined)
  })
  server.on('stream', ((stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
    stream.on('error', () => undefined)
    handle(stream, headers, raw)
  }) as never)
  if (options.path === undefined) server.listen(options.port ?? 0, '127.0.0.1')
  else server.listen(options.path)
  await once(server, 'listening')
  const kill = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of sockets) {
      if (options.path === undefined) socket.resetAndDestroy()
      else socket.destroy()
    }
    await closed
  }
  t.teardown(kill)
  const port = options.path === undefined ? (server.address() as AddressInfo).port : 0
  return { port, address: options.path === undefined ? `127.0.0.1:${port}` : `unix:${options.path}`, sessions, kill }
}

/** Answers a raw stream as gRPC does: headers, the given messages, status. */
export function respondGrpc(
  stream: ServerHttp2Stream,
  messages: readonly Buffer[] = [],
  status = '0',
  extra: OutgoingHttpHeaders = {},
): void {
  if (stream.destroyed || stream.closed) return
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status, ...extra }))
  for (const message of messages) stream.write(message)
  stream.end()
}

/** A message in its gRPC frame. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(5 + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, 5)
  return frame
}

/** A bare HTTP/2 connection to an ingress, closed when the test ends. */
export function rawClient(t: Rig, address: string, socket?: Socket): ClientHttp2Session {
  const options = socket === undefined ? {} : { createConnection: () => socket }
  const session = connect(`http://${address}`, { maxHeaderListPairs: 1_000, ...options })
  session.on('error', () => undefined)
  t.teardown(() => session.destroy())
  return session
}

export function openRaw(
  session: ClientHttp2Session,
  path: string,
  headers: OutgoingHttpHeaders = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
    { endStream: false },
  )
  stream.on('error', () => undefined)
  return stream
}

/** What came back on a raw stream. */
export interface RawAnswer {
  readonly headers: string[] | undefined
  readonly trailers: string[] | undefined
  readonly body: Buffer
  readonly rstCode: number
  /** The header block was the whole answer. */
  readonly alone: boolean
}

export function answerOf(stream: ClientHttp2Stream): Promise<RawAnswer> {
  const chunks: Buffer[] = []
  let headers: string[] | undefined
  let trailers: string[] | undefined
  let alone = false
  stream.on('response', ((_: unknown, flags: number, raw: string[]) => {
    headers = raw
    alone = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
  }) as never)
  stream.on('trailers', ((_: unknown, __: number, raw: string[]) => {
    trailers = raw
  }) as never)
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve) => {
    stream.on('close', () =>
      resolve({ headers, trailers, body: Buffer.concat(chunks), rstCode: stream.rstCode, alone }),
    )
  })
}

/** All values of a field in a raw block. */
export function valuesOf(raw: readonly string[] | undefined, name: string): string[] {
  return (raw ?? []).filter((_, at, all) => at % 2 === 1 && all[at - 1] === name)
}

/** A grpc-js server for any method of `SERVICE`, with messages as they are. */
export type GrpcHandler = (call: ServerDuplexStream<Buffer, Buffer>) => void

export async function grpcBackend(
  t: Rig,
  methods: Readonly<Record<string, GrpcHandler>>,
  options: Record<string, number> = {},
  port = 0,
): Promise<{ address: string; port: number; server: Server }> {
  const server = new Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.max_metadata_size': 1 << 20,
    ...options,
  })
  for (const [name, handler] of Object.entries(methods)) {
    server.register(
      `/${SERVICE}/${name}`,
      handler,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      'bidi',
    )
  }
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) =>
      error === null ? resolve(at) : reject(error),
    )
  })
  t.teardown(() => server.forceShutdown())
  return { address: `127.0.0.1:${bound}`, port: bound, server }
}

/** Sends back each message as it comes. */
export const echo: GrpcHandler = (call) => {
  call.on('data', (message: Buffer) => {
    if (!call.write(message)) {
      call.pause()
      call.once('drain', () => call.resume())
    }
  })
  call.on('end', () => call.end())
  call.on('error', () => undefined)
}

/** How a grpc-js call ends, whatever it is. */
export function statusOf(call: EventEmitter): Promise<StatusObject> {
  return new Promise((resolve) => call.once('status', resolve))
}

/** What became of one grpc-js call. */
export interface GrpcResult {
  readonly messages: Buffer[]
  readonly status: StatusObject
  readonly metadata: Metadata | undefined
}

/** A grpc-js client of any method, closed when the test ends. */
export interface GrpcClient {
  readonly client: Client
  readonly call: (
    method: string,
    messages: readonly Buffer[],
    options?: { timeoutMs?: number; metadata?: Metadata },
  ) => Promise<GrpcResult>
}

const asIs = (bytes: Buffer): Buffer => bytes

export function grpcClient(t: Rig, address: string): GrpcClient {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.max_metadata_size': 1 << 20,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  })
  t.teardown(() => client.close())
  return {
    client,
    call(method, messages, { timeoutMs, metadata } = {}) {
      const path = method.startsWith('/') ? method : `/${SERVICE}/${method}`
      const deadline = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }
      const call = client.makeBidiStreamRequest(path, asIs, asIs, metadata ?? new Metadata(), deadline)
      const received: Buffer[] = []
      let initial: Metadata | undefined
      call.on('data', (message: Buffer) => received.push(message))
      call.on('metadata', (value: Metadata) => {
        initial = value
      })
      call.on('error', () => undefined)
      for (const message of messages) call.write(message)
      call.end()
      return new Promise((resolve) => {
        call.on('status', (status: StatusObject) => resolve({ messages: received, status, metadata: initial }))
      })
    },
  }
}
