import { createIngress, type Ingress, type IngressConfig, type IngressSeams } from '../ingress.ts'
import { createLinkServer, type LinkServer, type LinkServerConfig, type LinkServerSeams } from '../link-server.ts'
import { CallMetrics, type CallRow } from '../router/call-metrics.ts'
import { createInFlight } from '../router/in-flight.ts'
import { CallThread, threadProgram } from './call-thread.ts'

/** Makes the doors of a node that calls come in by. */
export interface CallDoors {
  ingress(seams: IngressSeams, config: IngressConfig): Ingress
  link(seams: LinkServerSeams, config: LinkServerConfig): LinkServer
  /** What was counted of the calls by these doors. */
  calls(): Promise<readonly CallRow[]>
}

/**
 * The doors of one node. With a mesh they are in a thread of their own; alone they are not: there nobody
 * suspects a node that is busy, and a thread takes memory.
 */
export function createCallDoors(program: URL | undefined = threadProgram()): CallDoors {
  const thread = program === undefined ? undefined : new CallThread(program)
  const metrics = new CallMetrics()
  return {
    calls: async () => [...metrics.rows(), ...((await thread?.calls()) ?? [])],
    ingress(seams, config) {
      const { feed } = seams.endpoints
      if (thread === undefined || feed === undefined || config.certificate === undefined)
        return createIngress({ metrics, ...seams }, config)
      const inFlight = seams.inFlight ?? createInFlight()
      const { listen, nodeId, certificate, graceMs, takeover } = config
      const { clock, log, routeOf = () => undefined } = seams
      return {
        ...thread.door(
          'ingress',
          { clock, log, feed, routeOf, inFlight, guests: undefined, wake: seams.wake },
          { listen, nodeId, certificate, graceMs, takeover, controlSocket: undefined },
        ),
        inFlight: (instance) => inFlight.of(instance),
      }
    },

    link(seams, config) {
      const { feed } = seams.endpoints
      if (thread === undefined || feed === undefined) return createLinkServer({ metrics, ...seams }, config)
      const inFlight = seams.inFlight ?? createInFlight()
      const { listen, nodeId, certificate, graceMs, takeover, controlSocket } = config
      const { clock, log, guests, routeOf = () => undefined } = seams
      return {
        ...thread.door(
          'link',
          { clock, log, feed, routeOf, inFlight, guests: guests?.remote, wake: undefined },
          { listen, nodeId, certificate, graceMs, takeover, controlSocket },
        ),
        inFlight: (instance) => inFlight.of(instance),
      }
    },
  }
}
