import { systemRandom } from '../../base/system-random.ts'
import { systemTurn } from '../../base/system-turn.ts'
import { createIngress, type Ingress, type IngressConfig, type IngressSeams } from '../ingress.ts'
import { createLinkServer, type LinkServer, type LinkServerConfig, type LinkServerSeams } from '../link-server.ts'
import { CallMetrics, type CallRow } from '../router/call-metrics.ts'
import { CallTap, CallWatch, type EndedCalls } from '../router/call-watch.ts'
import type { CallInterest } from '../router/ended-call.ts'
import type { FaultRow } from '../router/fault-counts.ts'
import { createInFlight } from '../router/in-flight.ts'
import { CallThread, threadProgram } from './call-thread.ts'

/** Makes the doors of a node that calls come in by. */
export interface CallDoors {
  ingress(seams: IngressSeams, config: IngressConfig): Ingress
  link(seams: LinkServerSeams, config: LinkServerConfig): LinkServer
  /** What was counted of the calls by these doors. */
  calls(): Promise<readonly CallRow[]>
  /** What was counted of the faults of callers. */
  faults(): Promise<readonly FaultRow[]>
  /** Shows `listener` calls that have ended, about 100 ms late, until the function that is returned is called. */
  watch(interest: CallInterest, listener: (ended: EndedCalls) => void): () => void
}

/**
 * The doors of one node. With a mesh they are in a thread of their own; alone they are not: there nobody
 * suspects a node that is busy, and a thread takes memory.
 */
export function createCallDoors(program: URL | undefined = threadProgram()): CallDoors {
  const watch = new CallWatch((interest) => {
    tap.interest = interest
    thread?.want(interest)
  })
  const publish = (ended: EndedCalls): void => watch.publish(ended)
  const tap = new CallTap({ turn: systemTurn, random: systemRandom }, publish)
  const thread = program === undefined ? undefined : new CallThread(program, publish)
  const metrics = new CallMetrics()
  return {
    watch(interest, listener) {
      const end = watch.watch(interest, listener)
      return () => {
        tap.flush()
        end()
      }
    },
    calls: async () => [...metrics.rows(), ...((await thread?.calls()) ?? [])],
    faults: async () => [...metrics.faults.rows(), ...((await thread?.faults()) ?? [])],
    ingress(seams, config) {
      const { feed } = seams.endpoints
      if (thread === undefined || feed === undefined || config.certificate === undefined)
        return createIngress({ metrics, tap, ...seams }, config)
      const inFlight = seams.inFlight ?? createInFlight()
      const { listen, nodeId, zone, certificate, graceMs, takeover } = config
      const { clock, log, routeOf = () => undefined } = seams
      return {
        ...thread.door(
          'ingress',
          { clock, log, feed, routeOf, inFlight, guests: undefined, wake: seams.wake },
          { listen, nodeId, zone, certificate, graceMs, takeover, controlSocket: undefined },
        ),
        inFlight: (instance) => inFlight.of(instance),
      }
    },

    link(seams, config) {
      const { feed } = seams.endpoints
      if (thread === undefined || feed === undefined) return createLinkServer({ metrics, tap, ...seams }, config)
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
