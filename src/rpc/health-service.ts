import { status as codes } from '@grpc/grpc-js'
import { aborted, withSignal } from '../base/abort.ts'
import { Health, HealthCheckResponse_ServingStatus as Serving } from './gen/grpc/health/v1/health_pb.ts'
import { implement, type ServiceImplementation } from './service.ts'

/**
 * `grpc.health.v1` for a server that is healthy as long as it answers: it serves `names` and, under the empty name,
 * itself. Watchers are told `NOT_SERVING`, and their streams end, when `stopping` aborts.
 */
export function healthService(names: readonly string[], stopping: AbortSignal): ServiceImplementation {
  const known = new Set(['', ...names])
  return implement(Health, {
    async check({ service }) {
      // The protocol asks for this very status, and no failure of ours has it.
      if (!known.has(service)) throw notFound(service)
      return { status: stopping.aborted ? Serving.NOT_SERVING : Serving.SERVING }
    },
    async *watch({ service }, { signal }) {
      yield { status: known.has(service) ? Serving.SERVING : Serving.SERVICE_UNKNOWN }
      await firstOf(signal, stopping)
      yield { status: Serving.NOT_SERVING }
    },
  })
}

function notFound(service: string): Error {
  return Object.assign(new Error('unknown service'), {
    code: codes.NOT_FOUND,
    details: `this server does not offer '${service}'`,
  })
}

/** Resolves when either signal aborts, and leaves no listener behind on the other. */
function firstOf(one: AbortSignal, other: AbortSignal): Promise<void> {
  return withSignal(one, (first) => withSignal(other, (second) => Promise.race([aborted(first), aborted(second)])))
}
