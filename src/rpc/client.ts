import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { Client, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js'
import { HsuError, messageOf } from '../base/error.ts'
import { systemClock } from '../base/system-clock.ts'
import { justOne, mapped, readAll, type Written, writeAll } from './message-stream.ts'
import { fromStatus } from './status.ts'

/** What a caller may say about one call. */
export interface CallOptions {
  /** Gives the call up when it aborts. */
  readonly signal?: AbortSignal
  /** Time until the call ends with `TIMED_OUT`; none by default. Travels to the server as the deadline. */
  readonly timeoutMs?: number
  /** Sent along, such as `hsu-node`; names in lower case. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** The methods of a service as functions. Failures are `HsuError`s; leaving a stream's loop early cancels the call. */
export type ServiceClient<S extends DescService> = {
  readonly [Name in keyof S['method']]: S['method'][Name] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S['method'][Name] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : S['method'][Name] extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => Promise<MessageShape<O>>
        : S['method'][Name] extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
          : never
}

/** A channel to one server. It connects on the first call and again after a loss. */
export interface Connection {
  /** Where it leads, as given to `connect`. */
  readonly target: string
  client<S extends DescService>(service: S): ServiceClient<S>
  /**
   * Calls any method with messages already encoded. `path` is `/package.Service/Method`.
   * Works for all four kinds: how many messages go each way is between caller and server.
   */
  call(path: string, requests: AsyncIterable<Uint8Array>, options?: CallOptions): AsyncIterable<Uint8Array>
  /** Ends the channel and all its calls. Idempotent. */
  close(): void
}

/** Answers of services that are not ours may be large; more than this is taken for a mistake. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_RESPONSE_BYTES,
  // Each connection stands for itself: closing it closes its socket, and no call is sent twice behind our back.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  // A node that starts is found soon, one that stays away is not hammered.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5_000,
}

/** A host can vanish without a word; gRPC asks for no more than a ping in 10 s (gRFC A8). */
const KEEPALIVE = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 }

/**
 * A connection to `unix:/path` or `host:port`. Makes no contact until the first call.
 *
 * Calls throw the `HsuError` that the server sent; `NOT_STARTED` when nothing listens on the unix socket,
 * `NODE_UNREACHABLE` when the address cannot be reached, `TIMED_OUT`, `CANCELLED`.
 */
export function connect(target: string): Connection {
  const options = target.startsWith('unix:') ? CHANNEL_OPTIONS : { ...CHANNEL_OPTIONS, ...KEEPALIVE }
  const channel = { target, client: new Client(target, credentials.createInsecure(), options), live: new Set<Cancel>() }
  const connection: Connection = {
    target,
    client: (service) => createClient(connection, service),
    call: (path, requests, callOptions = {}) => exchange(channel, path, requests, callOptions),
    close() {
      channel.client.close()
      for (const cancel of channel.live) cancel(new HsuError('CANCELLED', `the connection to ${target} was closed`))
    },
  }
  return connection
}

type Cancel = (reason: HsuError) => void

interface Channel {
  readonly target: string
  readonly client: Client
  /** How to end each of the calls under way. */
  readonly live: Set<Cancel>
}

/** Encodes `init` as the request of a method. */
export function encode<M extends DescMessage>(schema: M, init: MessageInitShape<M>): Uint8Array {
  return toBinary(schema, create(schema, init))
}

function createClient<S extends DescService>(connection: Connection, service: S): ServiceClient<S> {
  const methods = service.methods.map((method) => [method.localName, createMethod(connection, method)] as const)
  // The table has a function for each method, of the type that its kind asks for: see createMethod.
  return Object.fromEntries(methods) as ServiceClient<S>
}

/** One function for a method, whatever its kind: only the outermost steps differ. */
function createMethod(connection: Connection, method: DescMethod): unknown {
  const path = `/${method.parent.typeName}/${method.name}`
  const { input, output, methodKind } = method
  type Request = MessageInitShape<DescMessage>
  const respond = (requests: AsyncIterable<Request>, options?: CallOptions): AsyncIterable<Message> =>
    mapped(
      connection.call(
        path,
        mapped(requests, (request) => encode(input, request)),
        options,
      ),
      (bytes) => decode(output, bytes, path),
    )
  switch (methodKind) {
    case 'unary':
      return (request: Request, options?: CallOptions) => only(respond(justOne(request), options), path)
    case 'server_streaming':
      return (request: Request, options?: CallOptions) => respond(justOne(request), options)
    case 'client_streaming':
      return (requests: AsyncIterable<Request>, options?: CallOptions) => only(respond(requests, options), path)
    case 'bidi_streaming':
      return respond
  }
}

/** The single message of a stream. @throws HsuError `INTERNAL` when there is none or more than one. */
export async function only<T>(messages: AsyncIterable<T>, path: string): Promise<T> {
  const all: T[] = []
  for await (const message of messages) {
    all.push(message)
    if (all.length > 1) break
  }
  const [first] = all
  if (first === undefined || all.length > 1) {
    throw new HsuError('INTERNAL', `${path} answered with ${all.length === 0 ? 'no message' : 'several messages'}`)
  }
  return first
}

/** Reads the answer of a call. @throws HsuError `INTERNAL` when it is something else. */
export function decode<M extends DescMessage>(schema: M, bytes: Uint8Array, path: string): MessageShape<M> {
  try {
    return fromBinary(schema, bytes)
  } catch (cause) {
    const message = `the answer of ${path} is not a ${schema.typeName}: ${messageOf(cause)}`
    throw new HsuError('INTERNAL', message, { details: { path }, cause })
  }
}

/** One call from its first to its last message. On the wire the four kinds differ in nothing but their counts. */
async function* exchange(
  { client, target, live }: Channel,
  path: string,
  requests: AsyncIterable<Uint8Array>,
  { signal, timeoutMs, metadata }: CallOptions,
): AsyncGenerator<Uint8Array, void> {
  if (signal?.aborted === true) throw givenUp(signal)
  // grpc-js compares deadlines with the computer's own clock, so no other clock can set them.
  const deadline = timeoutMs === undefined ? {} : { deadline: systemClock.wallMs() + timeoutMs }
  const call = open(client, path, toMetadata(metadata), deadline)
  const ended = new AbortController()
  let failure: HsuError | undefined
  const cancel = (reason: unknown): void => {
    failure ??= HsuError.from(reason)
    call.cancel()
  }
  const halfClose = ({ complete }: Written): void => {
    if (complete) call.end()
  }
  const giveUp = (): void => cancel(givenUp(signal as AbortSignal))
  signal?.addEventListener('abort', giveUp)
  live.add(cancel)
  const sending = writeAll(call, requests, ended.signal).then(halfClose, cancel)
  try {
    yield* readAll(call)
  } catch (thrown) {
    throw failure ?? fromStatus(thrown, target)
  } finally {
    signal?.removeEventListener('abort', giveUp)
    live.delete(cancel)
    ended.abort()
    call.cancel()
    await sending
  }
}

function open(
  client: Client,
  path: string,
  metadata: Metadata,
  options: { deadline?: number },
): ClientDuplexStream<Uint8Array, Uint8Array> {
  const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const call = client.makeBidiStreamRequest<Uint8Array, Uint8Array>(
      path,
      asBuffer,
      (bytes) => bytes,
      metadata,
      options,
    )
    // The reader sees the failure too; this one keeps a failure that comes after the reader has left from being fatal.
    call.on('error', () => undefined)
    return call
  } catch (cause) {
    throw new HsuError('NOT_STARTED', `cannot call ${path}: ${messageOf(cause)}`, { cause })
  }
}

function toMetadata(values: CallOptions['metadata'] = {}): Metadata {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(values)) {
    try {
      metadata.set(name, value)
    } catch (cause) {
      throw new HsuError('USAGE', `cannot send metadata '${name}': ${messageOf(cause)}`, { details: { name }, cause })
    }
  }
  return metadata
}

function givenUp(signal: AbortSignal): HsuError {
  if (signal.reason instanceof HsuError) return signal.reason
  return new HsuError('CANCELLED', 'the call was given up by its caller', { cause: signal.reason })
}
