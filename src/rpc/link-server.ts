import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createCallListener, type Guests, type Takeover } from './call-listener.ts'
import type { RouteConfig } from './config.ts'
import { DEFAULT_ROUTE } from './default-route.ts'
import type { Door, DoorHandle } from './door.ts'
import { type EndpointSource, findInstance } from './endpoint-source.ts'
import type { ShownCertificate } from './link-certificate.ts'
import { admit, type CallLimits, createCallLimits } from './router/call-limits.ts'
import type { CallMetrics } from './router/call-metrics.ts'
import { methodTerms } from './router/method-terms.ts'
import { createInFlight, type InFlight } from './router/in-flight.ts'
import { Delivery } from './relay/delivery.ts'
import type { Fault } from './relay/fault.ts'
import { Tally } from './relay/tally.ts'
import type { CallTap } from './router/call-watch.ts'
import { RelayLoop } from './relay/loop.ts'
import { createRelayUpstreams } from './relay/upstreams.ts'
import { onePlace, type Router, type Target } from './target.ts'

/** What a link server needs of its surroundings. */
export interface LinkServerSeams {
  readonly clock: Clock
  readonly log: Log
  readonly endpoints: EndpointSource
  /** The id of the member with this certificate; undefined for strangers, and for members that have left. */
  readonly isMember: (fingerprint: string) => string | undefined
  /** How calls to a unit of this node are routed; undefined, here or as the answer, means the defaults. */
  readonly routeOf?: (unit: string) => RouteConfig | undefined
  /** Shared with the ingress: the calls that this node lets through to a unit. */
  readonly limitsOf?: (unit: string) => CallLimits
  /** Shared with the ingress, so that an instance is drained of the calls of both. */
  readonly inFlight?: InFlight
  /** Shared with the other listeners of a thread. */
  readonly loop?: RelayLoop
  /** Where its calls are counted. */
  readonly metrics?: CallMetrics
  /** Shows the calls to whoever wants to see them. */
  readonly tap?: CallTap
  /** Strangers that may come, and what they get. */
  readonly guests?: Guests
}

/** Where a link server listens, and who it is. */
export interface LinkServerConfig {
  /** `host:port`; port 0 = a free one. */
  readonly listen: string
  readonly nodeId: string
  readonly certificate: ShownCertificate
  /** Unix socket of this node's own API, which other nodes may call. */
  readonly controlSocket: string
  /** How long calls may go on at `stop()`; 5 s unless told. */
  readonly graceMs?: number
  readonly takeover?: Takeover
}

/** Takes calls of other nodes, for instances of this node and for its control API. */
export interface LinkServer extends Door {
  /** The real `host:port`; a busy configured port is replaced by a free one at `start`. */
  address(): string
  handle(): DoorHandle | undefined
  /** Ends the connections of a node at once, for it is no longer welcome. */
  cut(nodeId: string): void
  /** Calls under way to an instance, sent from here. */
  inFlight(instance: string): number
  /** Resolves when no call to the instance is under way, at once if none is. @throws the signal's reason */
  drained(instance: string, signal: AbortSignal): Promise<void>
}

const GRACE_MS = 5_000

/**
 * HTTP/2 over mutual TLS 1.3. Only certificates that members have in their signed node records are admitted.
 * An instance that is not ready (any more) refuses with REFUSED_STREAM: the ingress that sent the call tries elsewhere.
 */
export function createLinkServer(seams: LinkServerSeams, config: LinkServerConfig): LinkServer {
  const { clock, log, isMember } = seams
  const { listen, certificate, graceMs = GRACE_MS, takeover } = config
  const inFlight = seams.inFlight ?? createInFlight()
  const loop = seams.loop ?? new RelayLoop(seams)
  const upstreams = createRelayUpstreams(clock, loop, undefined)
  const router = createLinkRouter(seams, config)
  const { metrics, tap } = seams
  const tally = metrics && new Tally({ clock, metrics, ...(tap && { tap }) }, 'link')
  const whenUnreached = 'refuse'
  const delivery = new Delivery({ clock, loop, router, upstreams, inFlight, whenUnreached, ...(tally && { tally }) })
  const onFault = (fault: Fault): void => metrics?.faults.add('link', fault)
  const listener = createCallListener(
    { clock, log, delivery, onFault },
    {
      name: 'link',
      listen,
      tls: { certificate, admit: isMember, ...(seams.guests && { guests: seams.guests }) },
      ...(takeover && { takeover }),
    },
  )

  return {
    name: 'link server',
    start: () => listener.start(),
    open: () => listener.open(),
    retire: (ms) => listener.stop(ms),
    handle: () => listener.handle(),
    cut: (nodeId) => listener.cut(nodeId),
    async stop() {
      await listener.stop(graceMs)
      await upstreams.stop()
    },
    address: () => listener.address(),
    inFlight: (instance) => inFlight.of(instance),
    drained: (instance, signal) => inFlight.drained(instance, signal),
  }
}

/** Exactly the instance that a call names, or the control API: nothing is forwarded to a third node. */
function createLinkRouter(
  { clock, endpoints, isMember, routeOf, limitsOf = createCallLimits(clock) }: LinkServerSeams,
  { nodeId, controlSocket }: LinkServerConfig,
): Router {
  return onePlace((call) => {
    const { head } = call
    const { fingerprint = '' } = call.caller
    if (isMember(fingerprint) === undefined) {
      // It may well be one, after a pause in which it seemed dead: a refusal lets it try elsewhere.
      throw new HsuError('NO_ENDPOINT', 'the calling node is not a member of this mesh at the moment')
    }
    const instance = head.steered ? head.text('hsu-instance') : undefined
    if (instance !== undefined) {
      const endpoint = findInstance(endpoints, instance, head.text('hsu-unit'))
      if (endpoint?.ready !== true || endpoint.nodeId !== nodeId) {
        throw new HsuError('NO_ENDPOINT', `instance '${instance}' is not ready on node ${nodeId}`, {
          details: { instance },
        })
      }
      const { address, unit } = endpoint
      const route = routeOf?.(unit) ?? DEFAULT_ROUTE
      admit(call, limitsOf(unit), route.limits)
      const { timeoutMs } = methodTerms(route, head.path)
      return { ...localTarget(address, `instance '${instance}'`, instance), unit, timeoutMs }
    }
    if (head.path.startsWith('/hsu.control.v1.') || head.text('hsu-control') === '1') {
      return localTarget(`unix:${controlSocket}`, 'the control API', undefined)
    }
    throw new HsuError('SERVICE_NOT_FOUND', 'a link takes calls for a named instance and for the control API only')
  })
}

function localTarget(address: string, label: string, instance: string | undefined): Target {
  return { to: { kind: 'local', address }, label, instance, add: [], timeoutMs: undefined }
}
