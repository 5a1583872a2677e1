import {
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../base/error.ts'
import { type CallOptions, type Connection, decode } from './client.ts'
import { type DescriptorSource, descriptorsFrom, reflectedDescriptors } from './descriptors.ts'
import { createReflectionClient } from './reflection-client.ts'

/** Calls methods that are not known before: JSON in, JSON out. */
export interface DynamicCaller {
  /** Full names of the services that can be called, sorted. */
  services(options?: CallOptions): Promise<readonly string[]>
  /**
   * Calls `package.Service/Method`, of any kind, and gives the answers as they come, in proto3 JSON.
   *
   * `json` is the request; for a method that takes a stream, an array of requests, or one after the other on lines
   * of their own. Empty text is one empty request, or an empty stream.
   *
   * Throws `USAGE` for a request that does not fit and for an unknown method, `SERVICE_NOT_FOUND` with the services
   * that are known, `UNSUPPORTED` when the server offers no reflection and there are no descriptors, and whatever
   * the call itself fails with.
   */
  call(method: string, json: string, options?: CallOptions): AsyncIterable<JsonValue>
}

/** Where the messages of a dynamic call are described. */
export interface DynamicCallerOptions {
  /** A `FileDescriptorSet`, in place of what the server says by reflection. */
  readonly descriptors?: Uint8Array
}

/** Calls over `connection`; the descriptors come from the server by reflection, with the same options as the call. */
export function createDynamicCaller(connection: Connection, { descriptors }: DynamicCallerOptions = {}): DynamicCaller {
  const fixed = descriptors === undefined ? undefined : descriptorsFrom(descriptors)
  const source = (options: CallOptions): DescriptorSource =>
    fixed ?? reflectedDescriptors(createReflectionClient(connection, options))

  async function* call(name: string, json: string, options: CallOptions = {}): AsyncGenerator<JsonValue, void> {
    const { method, registry } = await resolve(source(options), parseName(name)).catch(adviseDescriptors)
    const requests = parseRequests(method, json, registry)
    const path = `/${method.parent.typeName}/${method.name}`
    for await (const bytes of connection.call(path, inTurn(requests), options)) {
      yield toJson(method.output, decode(method.output, bytes, path), { registry })
    }
  }

  return {
    async services(options = {}) {
      return [...(await source(options).services().catch(adviseDescriptors))].sort()
    },
    call,
  }
}

interface MethodName {
  readonly service: string
  readonly method: string
}

function parseName(text: string): MethodName {
  const [service = '', method = '', ...rest] = text.replace(/^\//, '').split('/')
  if (service !== '' && method !== '' && rest.length === 0) return { service, method }
  throw new HsuError('USAGE', `'${text}' is not a method; write SERVICE/METHOD, such as shop.v1.Orders/Get`, {
    details: { method: text },
  })
}

async function resolve(
  source: DescriptorSource,
  { service, method }: MethodName,
): Promise<{ method: DescMethod; registry: FileRegistry }> {
  const registry = await source.find(service)
  const descriptor = registry?.getService(service)
  if (registry === undefined || descriptor === undefined) throw await unknownService(source, service)
  return { method: findMethod(descriptor, method), registry }
}

async function unknownService(source: DescriptorSource, service: string): Promise<HsuError> {
  const known = [...(await source.services())].sort().join(', ')
  const message = `no service '${service}' is described there; known: ${known === '' ? 'none' : known}`
  return new HsuError('SERVICE_NOT_FOUND', message, { details: { service, known } })
}

function findMethod({ typeName, methods }: DescService, name: string): DescMethod {
  const method = methods.find((candidate) => candidate.name === name)
  if (method !== undefined) return method
  const known = methods.map((candidate) => candidate.name).join(', ')
  throw new HsuError('USAGE', `'${typeName}' has no method '${name}'; it has: ${known}`, {
    details: { service: typeName, method: name, known },
  })
}

function adviseDescriptors(thrown: unknown): never {
  if (!(thrown instanceof HsuError) || thrown.reason !== 'UNSUPPORTED') throw thrown
  const advice =
    "pass --descriptor FILE, made by 'buf build -o FILE' or 'protoc --include_imports --descriptor_set_out=FILE'"
  throw new HsuError('UNSUPPORTED', `${thrown.message}; ${advice}`, { details: thrown.details, cause: thrown })
}

function parseRequests({ input, methodKind }: DescMethod, json: string, registry: FileRegistry): readonly Uint8Array[] {
  const takesStream = methodKind === 'client_streaming' || methodKind === 'bidi_streaming'
  return (takesStream ? parseSeveral(json) : [parseOne(json)]).map((value) => write(input, value, registry))
}

function parseOne(json: string): JsonValue {
  if (json.trim() === '') return {}
  try {
    return JSON.parse(json) as JsonValue
  } catch (cause) {
    throw new HsuError('USAGE', `the request is not JSON: ${messageOf(cause)}`, { cause })
  }
}

function parseSeveral(json: string): readonly JsonValue[] {
  const lines = json.split('\n').filter((line) => line.trim() !== '')
  if (lines.length > 1 && lines.every(isJson)) return lines.map(parseOne)
  if (lines.length === 0) return []
  const value = parseOne(json)
  return Array.isArray(value) ? value : [value]
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function write(schema: DescMessage, value: JsonValue, registry: FileRegistry): Uint8Array {
  try {
    return toBinary(schema, fromJson(schema, value, { registry }))
  } catch (cause) {
    throw new HsuError('USAGE', `the request does not fit: ${messageOf(cause)}`, {
      details: { message: schema.typeName },
      cause,
    })
  }
}

async function* inTurn<T>(items: readonly T[]): AsyncGenerator<T, void> {
  yield* items
}
