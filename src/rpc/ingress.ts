import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { createCallListener, type Takeover } from './call-listener.ts'
import { DEFAULT_ROUTE, type RouteConfig } from './config.ts'
import type { Door, DoorHandle } from './door.ts'
import type { Endpoint, EndpointSource } from './endpoint-source.ts'
import { forward } from './forward.ts'
import type { LinkCertificate } from './link-certificate.ts'
import { createLinkPool, type LinkTarget } from './link-pool.ts'
import { type Breaker, createBreaker } from './router/breaker.ts'
import { createInFlight, type InFlight } from './router/in-flight.ts'
import { pick } from './router/pick.ts'
import { match, noEndpoint, type Wanted, wantedFrom } from './router/route.ts'
import type { Miss, Route, Target, Targets } from './target.ts'
import { createUpstreams } from './upstreams.ts'

/** What an ingress needs of its surroundings. */
export interface IngressSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly endpoints: EndpointSource
  /** How to reach another node; undefined when it is not in the mesh (any more). */
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
  /** How calls to a unit are routed; undefined, here or as the answer, means the defaults. */
  readonly routeOf?: (unit: string) => RouteConfig | undefined
  /** Shared with the link server, so that an instance is drained of the calls of both. */
  readonly inFlight?: InFlight
}

/** Where an ingress listens, and who it is. */
export interface IngressConfig {
  /** `host:port`; port 0 = a free one. */
  readonly listen: string
  readonly nodeId: string
  /** Undefined: this host alone, there are no links. */
  readonly certificate: LinkCertificate | undefined
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
  const { listen, nodeId, certificate, graceMs = GRACE_MS, takeover } = config
  const inFlight = seams.inFlight ?? createInFlight()
  const links = certificate === undefined ? undefined : createLinkPool({ clock, linkOf }, certificate)
  const upstreams = createUpstreams(clock, links)
  const route = createServiceRoute({ ...seams, inFlight }, nodeId)
  const listener = createCallListener(
    {
      clock,
      log,
      onCall: (call, caller) =>
        forward(call, () => route(call.head, caller), { clock, upstreams, inFlight, whenUnreached: 'answer' }),
    },
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

interface RouteSeams extends Pick<IngressSeams, 'clock' | 'random' | 'endpoints' | 'linkOf' | 'routeOf'> {
  readonly inFlight: InFlight
}

/** Sends a call to an endpoint of the service it names, and elsewhere when that one certainly did not get it. */
function createServiceRoute(seams: RouteSeams, nodeId: string): Route {
  const breaker = createBreaker(seams.clock)
  return ({ fields }) => endpointsFor(wantedFrom(fields), { ...seams, breaker, nodeId })
}

interface ChoiceSeams extends RouteSeams {
  readonly breaker: Breaker
  readonly nodeId: string
}

/** The endpoints one call may go to, best first. The view is taken anew for each attempt. */
function endpointsFor(wanted: Wanted, seams: ChoiceSeams): Targets {
  const tried = new Set<string>()
  let last: Endpoint | undefined
  let left = 0

  return {
    next(missed: Miss | undefined): Target | undefined {
      if (missed !== undefined && last !== undefined) note(missed, last, seams)
      const matched = match(wanted, seams.endpoints)
      const ready = matched.endpoints.filter((endpoint) => endpoint.ready)
      const chosen = choose(ready, tried, missed, seams)
      if (chosen === undefined) {
        if (missed === undefined) throw noEndpoint(matched)
        return undefined
      }
      const { retries, timeout } = seams.routeOf?.(chosen.unit) ?? DEFAULT_ROUTE
      if (last === undefined) left = 1 + retries
      if (left === 0) return undefined
      left -= 1
      last = chosen
      tried.add(chosen.instance)
      return targetOf(chosen, timeout, seams)
    },
  }
}

/** One that was not tried yet; else, when the last one refused (its connection was closing), any of them again. */
function choose(
  ready: readonly Endpoint[],
  tried: ReadonlySet<string>,
  missed: Miss | undefined,
  { random, inFlight, breaker, nodeId, routeOf }: ChoiceSeams,
): Endpoint | undefined {
  const fresh = ready.filter(({ instance }) => !tried.has(instance))
  const candidates = fresh.length === 0 && missed?.kind === 'refused' ? ready : fresh
  const { prefer } = routeOf?.(candidates[0]?.unit ?? '') ?? DEFAULT_ROUTE
  return pick(candidates, prefer === 'host' ? nodeId : undefined, {
    random,
    inFlight: (instance) => inFlight.of(instance),
    avoid: (endpoint) => breaker.isOpen(endpoint.instance) || breaker.isOpen(endpoint.nodeId),
  })
}

/** What a miss teaches: a link that failed speaks for all instances of its node. */
function note({ kind, error }: Miss, { instance, nodeId }: Endpoint, { breaker }: ChoiceSeams): void {
  if (error.reason === 'QUEUE_FULL') return
  breaker.failed(kind === 'unreachable' && error.reason === 'NODE_UNREACHABLE' ? nodeId : instance)
}

function targetOf(
  { unit, instance, nodeId, node, address }: Endpoint,
  timeoutMs: number | undefined,
  seams: ChoiceSeams,
): Target {
  const shared = { instance, timeoutMs }
  if (nodeId === seams.nodeId) {
    return { ...shared, to: { kind: 'local', address }, label: `instance '${instance}'`, add: {} }
  }
  const link = seams.linkOf(nodeId) ?? unknownLink(nodeId)
  const add = { 'hsu-unit': unit, 'hsu-instance': instance }
  return { ...shared, to: { kind: 'link', link }, label: `instance '${instance}' on node '${node}'`, add }
}

/** A node that has just left: its link has no address, so that the attempt fails and another endpoint is tried. */
function unknownLink(nodeId: string): LinkTarget {
  return { nodeId, addresses: [], fingerprint: '' }
}
