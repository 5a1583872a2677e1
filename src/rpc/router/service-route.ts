import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { DEFAULT_ROUTE, type RouteConfig } from '../config.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import { makeField } from '../h2/field.ts'
import type { LinkTarget, Miss, RoutedCall, Router, Target } from '../target.ts'
import { type Breaker, createBreaker } from './breaker.ts'
import { Finder, type Found } from './found.ts'
import type { InFlight } from './in-flight.ts'
import { pick } from './pick.ts'
import { noEndpoint } from './route.ts'
import { createWaking, type Wake, type Waking } from './waking.ts'

/** What the routing of calls needs of its surroundings. */
export interface ServiceRouteSeams {
  readonly clock: Clock
  readonly random: Random
  readonly endpoints: EndpointSource
  readonly inFlight: InFlight
  /** How to reach another node; undefined when it is not in the mesh (any more). */
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
  /** How calls to a unit are routed; undefined, here or as the answer, means the defaults. */
  readonly routeOf?: (unit: string) => RouteConfig | undefined
  /** Starts units that sleep, for the calls that come for them; without it they are not reachable. */
  readonly wake?: Wake
}

/** An endpoint as a target, and how many more may be tried after it. */
interface EndpointTarget extends Target {
  readonly endpoint: Endpoint
  readonly retries: number
}

/** The attempts of one call after its first. */
interface Trail {
  readonly tried: Set<string>
  left: number
}

/** Sends a call to an endpoint of the service it names, and elsewhere when that one certainly did not get it. */
export function createServiceRouter(seams: ServiceRouteSeams, nodeId: string): Router {
  return new ServiceRouter(seams, nodeId)
}

class ServiceRouter implements Router {
  readonly #seams: ServiceRouteSeams
  readonly #nodeId: string
  readonly #finder: Finder
  readonly #breaker: Breaker
  readonly #waking: Waking | undefined
  /** Endpoints are made anew when anything about them changes. */
  readonly #targets = new WeakMap<Endpoint, EndpointTarget>()

  constructor(seams: ServiceRouteSeams, nodeId: string) {
    this.#seams = seams
    this.#nodeId = nodeId
    this.#finder = new Finder(seams.endpoints)
    const { clock, wake } = seams
    this.#breaker = createBreaker(clock)
    this.#waking = wake && createWaking({ clock, wake })
  }

  next(call: RoutedCall, missed: Miss | undefined): Target | undefined | Promise<Target | undefined> {
    if (missed !== undefined) return this.#again(call, missed)
    const found = this.#finder.find(call.head)
    const chosen = this.#choose(found.ready)
    if (chosen !== undefined) return this.#targetOf(chosen)
    const coming = this.#hold(found, call)
    if (coming === undefined) throw noEndpoint(found)
    return coming.then((woken) => {
      const awake = this.#choose(woken)
      if (awake === undefined) throw noEndpoint(found)
      return this.#targetOf(awake)
    })
  }

  /** What is ready once a unit was woken for the call; undefined when none is started by calls. */
  #hold({ endpoints }: Found, { head, signal }: RoutedCall): Promise<readonly Endpoint[]> | undefined {
    if (head.steered && head.text('hsu-instance') !== undefined) return undefined
    return this.#waking?.hold(endpoints, head.steered ? head.text('hsu-node') : undefined, signal)
  }

  /**
   * One that was not tried yet; else, when the last one refused (its connection was closing), any of them again. A unit that is
   * started by calls may have refused because it is going to sleep: it is woken first.
   */
  #again(call: RoutedCall, missed: Miss): Target | undefined | Promise<Target | undefined> {
    const last = call.target as EndpointTarget
    this.#note(missed, last.endpoint)
    const trail = (call.trail as Trail | undefined) ?? { tried: new Set<string>(), left: last.retries }
    call.trail = trail
    trail.tried.add(last.endpoint.instance)
    if (trail.left === 0) return undefined
    const attempt = (fresh: readonly Endpoint[], others: readonly Endpoint[]): Target | undefined => {
      const chosen = this.#choose(fresh.length === 0 && missed.kind === 'refused' ? others : fresh)
      if (chosen === undefined) return undefined
      trail.left -= 1
      return this.#targetOf(chosen)
    }
    const isFresh = ({ instance }: Endpoint): boolean => !trail.tried.has(instance)
    const found = this.#finder.find(call.head)
    const target = attempt(
      found.ready.filter(isFresh),
      found.ready.filter(({ onCall }) => onCall === undefined),
    )
    if (target !== undefined) return target
    return this.#hold(found, call)?.then((woken) => attempt(woken.filter(isFresh), woken))
  }

  #choose(candidates: readonly Endpoint[]): Endpoint | undefined {
    const [first] = candidates
    if (candidates.length < 2 || first === undefined) return first
    const { random, inFlight } = this.#seams
    const { prefer } = this.#routeOf(first)
    return pick(candidates, prefer === 'host' ? this.#nodeId : undefined, {
      random,
      inFlight: (instance) => inFlight.of(instance),
      avoid: (endpoint) => this.#breaker.isOpen(endpoint.instance) || this.#breaker.isOpen(endpoint.nodeId),
    })
  }

  /** What a miss teaches: a link that failed speaks for all instances of its node. */
  #note({ kind, error }: Miss, { instance, nodeId }: Endpoint): void {
    if (error.reason === 'QUEUE_FULL') return
    this.#breaker.failed(kind === 'unreachable' && error.reason === 'NODE_UNREACHABLE' ? nodeId : instance)
  }

  #routeOf({ unit }: Endpoint): RouteConfig {
    return this.#seams.routeOf?.(unit) ?? DEFAULT_ROUTE
  }

  #targetOf(endpoint: Endpoint): EndpointTarget {
    const known = this.#targets.get(endpoint)
    if (known !== undefined && endpoint.nodeId === this.#nodeId) return known
    const { unit, instance, nodeId, node, address } = endpoint
    const { timeout: timeoutMs, retries } = this.#routeOf(endpoint)
    const shared = { endpoint, retries, instance, timeoutMs }
    const target: EndpointTarget =
      nodeId === this.#nodeId
        ? { ...shared, to: { kind: 'local', address }, label: `instance '${instance}'`, add: [] }
        : {
            ...shared,
            to: { kind: 'link', link: this.#seams.linkOf(nodeId) ?? unknownLink(nodeId) },
            label: `instance '${instance}' on node '${node}'`,
            add: known?.add ?? [makeField('hsu-unit', unit, true), makeField('hsu-instance', instance, true)],
          }
    this.#targets.set(endpoint, target)
    return target
  }
}

/** A node that has just left: its link has no address, so that the attempt fails and another endpoint is tried. */
function unknownLink(nodeId: string): LinkTarget {
  return { nodeId, addresses: [], fingerprint: '' }
}
