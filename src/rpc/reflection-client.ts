import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { HsuError, messageOf } from '../base/error.ts'
import { type CallOptions, type Connection, encode, only } from './client.ts'
import {
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionRequestSchema as RequestSchema,
  ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.ts'
import { justOne } from './message-stream.ts'
import { REFLECTION_V1ALPHA } from './reflection-service.ts'

/** Asks a server what it offers (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md). */
export interface ReflectionClient {
  /** Full names of the services, those of gRPC itself included. */
  services(): Promise<readonly string[]>
  /** Files that define a symbol, perhaps with their imports; undefined when the server does not know it. */
  filesOfSymbol(symbol: string): Promise<readonly FileDescriptorProto[] | undefined>
  /** A file by its name in import statements, perhaps with its imports; undefined when the server does not know it. */
  filesByName(name: string): Promise<readonly FileDescriptorProto[] | undefined>
}

const V1 = 'grpc.reflection.v1.ServerReflection'

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>
type Answer = ServerReflectionResponse['messageResponse']

/**
 * Server reflection over `connection`: v1, or v1alpha where that is all there is. `options` go with each call.
 * Each method throws `UNSUPPORTED` when the server offers neither, and whatever a call can throw.
 */
export function createReflectionClient(connection: Connection, options: CallOptions): ReflectionClient {
  let version: string | undefined

  async function ask(question: Question): Promise<Answer> {
    if (version !== undefined) return askVersion(connection, version, question, options)
    for (const candidate of [V1, REFLECTION_V1ALPHA]) {
      const answer = await askVersion(connection, candidate, question, options).catch(ifUnimplemented)
      if (answer === undefined) continue
      version = candidate
      return answer
    }
    const { target } = connection
    throw new HsuError('UNSUPPORTED', `${target} does not offer server reflection`, { details: { target } })
  }

  async function files(question: Question): Promise<readonly FileDescriptorProto[] | undefined> {
    const answer = await ask(question)
    if (answer.case !== 'fileDescriptorResponse') return undefined
    return answer.value.fileDescriptorProto.map((bytes) => parseFile(bytes, connection.target))
  }

  return {
    async services() {
      const answer = await ask({ case: 'listServices', value: '' })
      return answer.case === 'listServicesResponse' ? answer.value.service.map(({ name }) => name) : []
    },
    filesOfSymbol: (symbol) => files({ case: 'fileContainingSymbol', value: symbol }),
    filesByName: (name) => files({ case: 'fileByFilename', value: name }),
  }
}

async function askVersion(
  connection: Connection,
  version: string,
  question: Question,
  options: CallOptions,
): Promise<Answer> {
  const path = `/${version}/ServerReflectionInfo`
  const request = encode(RequestSchema, create(RequestSchema, { messageRequest: question }))
  const bytes = await only(connection.call(path, justOne(request), options), path)
  return fromBinary(ServerReflectionResponseSchema, bytes).messageResponse
}

function ifUnimplemented(thrown: unknown): undefined {
  if (thrown instanceof HsuError && thrown.status === 'UNIMPLEMENTED') return undefined
  throw thrown
}

function parseFile(bytes: Uint8Array, target: string): FileDescriptorProto {
  try {
    return fromBinary(FileDescriptorProtoSchema, bytes)
  } catch (cause) {
    throw new HsuError('INTERNAL', `${target} sent a descriptor that cannot be read: ${messageOf(cause)}`, { cause })
  }
}
