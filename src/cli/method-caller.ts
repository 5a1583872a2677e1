import type { CallOptions, Connection } from '../rpc/index.ts'

/** Calls methods that are known only by name, with JSON. */
export interface MethodCaller {
  /** `describedBy` = the unit that is asked by reflection what the messages look like; the call itself goes anywhere. */
  call(method: string, json: string, options: CallOptions, describedBy: string | undefined): AsyncIterable<unknown>
}

/**
 * A connection whose questions of server reflection go to `unit`. At an ingress they have to be aimed: reflection is a
 * service that every unit offers, so routing by service name alone could ask any of them.
 */
export function reflectingFrom(connection: Connection, unit: string): Connection {
  return {
    ...connection,
    call(path, requests, options = {}) {
      if (!path.startsWith('/grpc.reflection.')) return connection.call(path, requests, options)
      return connection.call(path, requests, { ...options, metadata: { 'hsu-unit': unit, ...options.metadata } })
    },
  }
}
