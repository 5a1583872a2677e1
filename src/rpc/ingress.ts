import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { createCallListener, type Takeover } from './call-listener.ts'
import type { Door, DoorHandle } from './door.ts'
import type { ShownCertificate } from './link-certificate.ts'
import { Delivery } from './relay/delivery.ts'
import type { Fault } from './relay/fault.ts'
import { createLinkPool } from './relay/link-pool.ts'
import { Tally } from './relay/tally.ts'
import type { CallTap } from './router/call-watch.ts'
import { RelayLoop } from './relay/loop.ts'
import { createRelayUpstreams } from './relay/upstreams.ts'
import { createCallLimits } from './router/call-limits.ts'
import type { CallMetrics } from './router/call-metrics.ts'
import { createInFlight, type InFlight } from './router/in-flight.ts'
import { createServiceRouter, type ServiceRouteSeams } from './router/service-route.ts'

/** What an ingress needs of its surroundings. */
export interface IngressSeams extends Omit<ServiceRouteSeams, 'inFlight'> {
  readonly clock: Clock
  readonly log: Log
  /** Shared with the link server, so that an instance is drained of the calls of both. */
  readonly inFlight?: InFlight
  /** Shared with the other listeners of a thread. */
  readonly loop?: RelayLoop
  /** Where its calls are counted. */
  readonly metrics?: CallMetrics
  /** Shows the calls to whoever wants to see them. */
  readonly tap?: CallTap
}

/** Where an ingress listens, and who it is. */
export interface IngressConfig {
  /** `host:port`; port 0 = a free one. */
  readonly listen: string
  readonly nodeId: string
  /** Label `zone` of the node; left out without one. */
  readonly zone?: string | undefined
  /** Undefined: this host alone, there are no links. */
  readonly certificate: ShownCertificate | undefined
  /** How long calls may go on at `stop()`; 5 s unless told. */
  readonly graceMs?: number
  readonly takeover?: Takeover
}

/** Takes any gRPC call from processes of this host and passes it on to the unit it asks for, wherever that runs. */
export interface Ingress extends Door {
  /** The real `host:port`; a busy configured port is replaced by a free one at `start`. */
  address(): string
  handle(): DoorHandle | undefined
  /** Calls under way to an instance, sent from here. */
  inFlight(instance: string): number
  /** Resolves when no call to the instance is under way, at once if none is. @throws the signal's reason */
  drained(instance: string, signal: AbortSignal): Promise<void>
}

const GRACE_MS = 5_000

export function createIngress(seams: IngressSeams, config: IngressConfig): Ingress {
  const { clock, log, linkOf } = seams
  const { listen, nodeId, zone, certificate, graceMs = GRACE_MS, takeover } = config
  const inFlight = seams.inFlight ?? createInFlight()
  const loop = seams.loop ?? new RelayLoop(seams)
  const links = certificate === undefined ? undefined : createLinkPool({ clock, loop, linkOf }, certificate)
  const upstreams = createRelayUpstreams(clock, loop, links)
  const router = createServiceRouter(
    { ...seams, inFlight, limitsOf: seams.limitsOf ?? createCallLimits(clock) },
    { nodeId, zone },
  )
  const { metrics, tap } = seams
  const tally = metrics && new Tally({ clock, metrics, ...(tap && { tap }) }, 'ingress')
  const whenUnreached = 'answer'
  const delivery = new Delivery({ clock, loop, router, upstreams, inFlight, whenUnreached, ...(tally && { tally }) })
  const onFault = (fault: Fault): void => metrics?.faults.add('ingress', fault)
  const listener = createCallListener(
    { clock, log, delivery, onFault },
    { name: 'ingress', listen, ...(takeover && { takeover }) },
  )

  return {
    name: 'ingress',
    start: () => listener.start(),
    open: () => listener.open(),
    retire: (ms) => listener.stop(ms),
    handle: () => listener.handle(),
    async stop() {
      await listener.stop(graceMs)
      await upstreams.stop()
    },
    address: () => listener.address(),
    inFlight: (instance) => inFlight.of(instance),
    drained: (instance, signal) => inFlight.drained(instance, signal),
  }
}
