import type { DescService } from '@bufbuild/protobuf'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Test } from 'tap'
import { memoryLog } from './memory-log.ts'
import { reflectionServices } from '../../src/rpc/reflection-service.ts'
import { answer, type ServerCall } from '../../src/rpc/server-call.ts'
import type { ServiceImplementation } from '../../src/rpc/service.ts'

/** Starts a plain gRPC server on loopback with just these services; gives its `host:port`. Ends with the test. */
export async function startGrpcServer(t: Test, services: readonly ServiceImplementation[]): Promise<string> {
  const server = new Server()
  for (const implementation of services) {
    for (const method of implementation.service.methods) {
      const handle = answer(implementation, method, memoryLog(), new AbortController().signal)
      const path = `/${implementation.name}/${method.name}`
      const handler = (call: ServerCall): void => void handle(call)
      server.register(
        path,
        handler,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => bytes,
        'bidi',
      )
    }
  }
  return listen(t, server)
}

/** Lets a gRPC server listen on loopback until the test ends; gives its `host:port`. */
export function listen(t: Test, server: Server): Promise<string> {
  t.teardown(() => server.forceShutdown())
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(`127.0.0.1:${port}`)
      else reject(error)
    })
  })
}

/** The services that answer server reflection for `services`; `version` leaves only one of v1 and v1alpha. */
export function reflectionOf(services: readonly DescService[], version?: 'v1' | 'v1alpha'): ServiceImplementation[] {
  const all = reflectionServices(services)
  return all.filter(({ name }) => version === undefined || name === `grpc.reflection.${version}.ServerReflection`)
}
