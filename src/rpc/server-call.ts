import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf'
import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js'
import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { mapped, readAll, writeAll } from './message-stream.ts'
import type { CallContext, ServiceImplementation } from './service.ts'
import { isStatus, toStatus } from './status.ts'

/** A call as grpc-js hands it over: encoded messages both ways. */
export type ServerCall = ServerDuplexStream<Uint8Array, Uint8Array>

/** A handler with its kind hidden: any number of messages in, any number out. */
type AnyHandler = (
  requests: AsyncIterable<Message>,
  context: CallContext,
) => AsyncIterable<MessageInitShape<DescMessage>>

/**
 * Answers calls of one method. The only place where errors become statuses.
 * The returned function resolves when the handler has ended, and never rejects.
 * When `closing` aborts, calls under way end with `NODE_DRAINING`.
 */
export function answer(
  implementation: ServiceImplementation,
  method: DescMethod,
  log: Log,
  closing: AbortSignal,
): (call: ServerCall) => Promise<void> {
  const path = `/${implementation.name}/${method.name}`
  const handle = asAnyHandler(implementation, method)
  const { input, output } = method

  return async (call) => {
    const gone = new AbortController()
    const close = (): void => gone.abort(new HsuError('NODE_DRAINING', `${path} ended: the server stops`))
    closing.addEventListener('abort', close)
    call.on('cancelled', () => gone.abort(new HsuError('CANCELLED', `the caller of ${path} hung up`)))
    const context = { signal: gone.signal, metadata: (key: string) => firstText(call.metadata, key) }
    try {
      const requests = mapped(readAll(call), (bytes) => decode(input, bytes, path))
      const responses = mapped(handle(requests, context), (response) => toBinary(output, create(output, response)))
      const { complete, producerEnded } = await writeAll(call, responses, gone.signal)
      if (complete) call.end()
      else call.emit('error', failure(gone.signal.reason, path, log))
      await producerEnded
    } catch (thrown) {
      const reason: unknown = isAbort(thrown, gone.signal) ? gone.signal.reason : thrown
      call.emit('error', failure(reason, path, log))
    } finally {
      closing.removeEventListener('abort', close)
    }
  }
}

function failure(thrown: unknown, path: string, log: Log): unknown {
  if (isStatus(thrown)) return thrown
  const error = HsuError.from(thrown)
  if (error.reason === 'INTERNAL') log.error('rpc failed', { path, error })
  return toStatus(error)
}

function isAbort(thrown: unknown, signal: AbortSignal): boolean {
  return signal.aborted && thrown instanceof Error && thrown.name === 'AbortError'
}

function asAnyHandler({ name, handlers }: ServiceImplementation, method: DescMethod): AnyHandler {
  const handler = handlers[method.localName]
  if (typeof handler !== 'function') {
    const message = `${name}/${method.name} is not offered by this server`
    return () => failing(new HsuError('UNSUPPORTED', message, { details: { service: name, method: method.name } }))
  }
  const call = handler as (request: unknown, context: CallContext) => unknown
  switch (method.methodKind) {
    case 'unary':
      return (requests, context) => later(async () => call(await single(requests), context))
    case 'server_streaming':
      return (requests, context) => streamLater(async () => call(await single(requests), context))
    case 'client_streaming':
      return (requests, context) => later(async () => call(requests, context))
    case 'bidi_streaming':
      return (requests, context) => streamLater(async () => call(requests, context))
  }
}

type Response = MessageInitShape<DescMessage>

async function* later(task: () => Promise<unknown>): AsyncGenerator<Response, void> {
  yield (await task()) as Response
}

/** The handler's own iterable, begun when it is first asked, and ended at once when it is not wanted any more. */
function streamLater(task: () => Promise<unknown>): AsyncIterable<Response> {
  let inner: AsyncIterator<Response> | undefined
  const iterator: AsyncIterator<Response, undefined> = {
    async next() {
      inner ??= ((await task()) as AsyncIterable<Response>)[Symbol.asyncIterator]()
      return inner.next() as Promise<IteratorResult<Response, undefined>>
    },
    async return() {
      await inner?.return?.()
      return { done: true, value: undefined }
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}

async function* failing(error: HsuError): AsyncGenerator<never, void> {
  throw error
}

async function single(requests: AsyncIterable<Message>): Promise<Message> {
  const all: Message[] = []
  for await (const request of requests) {
    all.push(request)
    if (all.length > 1) break
  }
  const [first] = all
  if (first === undefined || all.length > 1) {
    throw new HsuError('USAGE', `this method takes one request, not ${all.length === 0 ? 'none' : 'several'}`)
  }
  return first
}

function decode(schema: DescMessage, bytes: Uint8Array, path: string): Message {
  try {
    return fromBinary(schema, bytes)
  } catch (cause) {
    const message = `the request of ${path} is not a ${schema.typeName}: ${messageOf(cause)}`
    throw new HsuError('USAGE', message, { details: { path }, cause })
  }
}

function firstText(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name)
  return typeof value === 'string' ? value : undefined
}
