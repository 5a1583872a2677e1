import { type DescFile, type DescService, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { status as codes } from '@grpc/grpc-js'
import {
  type ServerReflectionRequest,
  ServerReflection,
  type ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.ts'
import { implement, type ServiceImplementation } from './service.ts'

/** The older name of server reflection. Its messages are the same on the wire, and many clients know no other. */
export const REFLECTION_V1ALPHA = 'grpc.reflection.v1alpha.ServerReflection'

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>

/**
 * Server reflection (v1 and v1alpha) for `services` and itself, from the descriptors inside the generated code:
 * `@grpc/reflection` would need the .proto files at run time.
 */
export function reflectionServices(services: readonly DescService[]): readonly ServiceImplementation[] {
  const index = indexFiles([...services, ServerReflection])
  const v1 = implement(ServerReflection, {
    async *serverReflectionInfo(requests) {
      const sent = new Set<DescFile>()
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: reply(request, index, sent) }
      }
    },
  })
  return [v1, { ...v1, name: REFLECTION_V1ALPHA }]
}

interface FileIndex {
  readonly services: readonly string[]
  readonly byName: ReadonlyMap<string, DescFile>
  /** Services, methods, messages, enums and their values by full name. */
  readonly bySymbol: ReadonlyMap<string, DescFile>
}

function reply(
  { messageRequest: { case: kind, value } }: ServerReflectionRequest,
  index: FileIndex,
  sent: Set<DescFile>,
): Answer {
  switch (kind) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: index.services.map((name) => ({ name })) } }
    case 'fileByFilename':
      return files(index.byName.get(value), sent) ?? notFound(value)
    case 'fileContainingSymbol':
      return files(index.bySymbol.get(value), sent) ?? notFound(value)
    case 'fileContainingExtension':
      return notFound(`extension ${value.extensionNumber} of ${value.containingType}`)
    case 'allExtensionNumbersOfType':
      return notFound(`extensions of ${value}`)
    case undefined:
      return failure(codes.INVALID_ARGUMENT, 'the request asks for nothing')
  }
}

/** The file and all it imports, imports first, save what this stream has sent before; but never nothing. */
function files(file: DescFile | undefined, sent: Set<DescFile>): Answer | undefined {
  if (file === undefined) return undefined
  const news = withImports(file).filter((other) => other === file || !sent.has(other))
  for (const other of news) sent.add(other)
  return {
    case: 'fileDescriptorResponse',
    value: {
      // The file that was asked for comes first, as in other servers.
      fileDescriptorProto: news.reverse().map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto)),
    },
  }
}

function notFound(what: string): Answer {
  return failure(codes.NOT_FOUND, `not known here: ${what}`)
}

function failure(errorCode: codes, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } }
}

function indexFiles(services: readonly DescService[]): FileIndex {
  const all = new Set(services.flatMap(({ file }) => withImports(file)))
  return {
    services: services.map(({ typeName }) => typeName).sort(),
    byName: new Map([...all].map((file) => [file.proto.name, file])),
    bySymbol: new Map([...all].flatMap((file) => symbolsOf(file).map((symbol) => [symbol, file] as const))),
  }
}

/** A file after all that it imports. */
function withImports(file: DescFile): readonly DescFile[] {
  const found = new Set<DescFile>()
  const visit = (next: DescFile): void => {
    if (found.has(next)) return
    next.dependencies.forEach(visit)
    found.add(next)
  }
  visit(file)
  return [...found]
}

type DescMessages = DescFile['messages']

function symbolsOf(file: DescFile): readonly string[] {
  const services = file.services.flatMap(({ typeName, methods }) => [
    typeName,
    ...methods.map(({ name }) => `${typeName}.${name}`),
  ])
  const within = (messages: DescMessages): string[] =>
    messages.flatMap((message) => [
      message.typeName,
      ...message.nestedEnums.map(({ typeName }) => typeName),
      ...within(message.nestedMessages),
    ])
  return [...services, ...within(file.messages), ...file.enums.map(({ typeName }) => typeName)]
}
