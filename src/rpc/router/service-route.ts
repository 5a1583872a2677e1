import { backoffMs, type BackoffPolicy } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { EjectionConfig, RouteConfig } from '../config.ts'
import { DEFAULT_EJECTION, DEFAULT_ROUTE } from '../default-route.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import type { CallOutcome, Miss, RoutedCall, Router, Target } from '../target.ts'
import { admit, type CallLimits } from './call-limits.ts'
import { Ejector } from './ejection.ts'
import { Finder, type Found, partOf } from './found.ts'
import type { InFlight } from './in-flight.ts'
import { methodTerms } from './method-terms.ts'
import { pick } from './pick.ts'
import { noEndpoint } from './route.ts'
import { choosePart } from './split.ts'
import { type EndpointTarget, type LinkOf, Targets } from './targets.ts'
import { leftOf, trailOf } from './trail.ts'
import { UnitCalls } from './unit-calls.ts'
import { createWaking, type Wake, type Waking } from './waking.ts'

/** What the routing of calls needs of its surroundings. */
export interface ServiceRouteSeams {
  readonly clock: Clock
  readonly random: Random
  readonly endpoints: EndpointSource
  readonly inFlight: InFlight
  readonly linkOf: LinkOf
  /** How calls to a unit are routed; undefined, here or as the answer, means the defaults. */
  readonly routeOf?: (unit: string) => RouteConfig | undefined
  /** The calls that this node lets through to a unit of its own. Left out: all. */
  readonly limitsOf?: (unit: string) => CallLimits
  /** Starts units that sleep, and waits for those that start, for the calls that come for them; without it these are not held. */
  readonly wake?: Wake
}

/** Between two attempts at the same instance, which has just said that it is not available. */
const SAME_INSTANCE_BACKOFF: BackoffPolicy = { minMs: 25, maxMs: 1_000, factor: 2, jitter: 0.2 }

/** Where the router is. */
export interface Place {
  readonly nodeId: string
  /** Label `zone` of the node; undefined without one. */
  readonly zone?: string | undefined
}

/** Sends a call to an endpoint of the service it names, and elsewhere when that one certainly did not get it, or may get it twice. */
export function createServiceRouter(seams: ServiceRouteSeams, place: Place): Router {
  return new ServiceRouter(seams, place)
}

class ServiceRouter implements Router {
  readonly #seams: ServiceRouteSeams
  readonly #nodeId: string
  readonly #zone: string | undefined
  readonly #finder: Finder
  readonly #ejector: Ejector
  readonly #waking: Waking | undefined
  readonly #units: UnitCalls
  readonly #targets: Targets

  constructor(seams: ServiceRouteSeams, { nodeId, zone }: Place) {
    this.#seams = seams
    this.#nodeId = nodeId
    this.#zone = zone
    this.#finder = new Finder(seams.endpoints)
    const { clock, wake, endpoints, linkOf } = seams
    this.#targets = new Targets(nodeId, linkOf)
    this.#ejector = new Ejector(clock)
    this.#units = new UnitCalls(clock)
    this.#waking = wake && createWaking({ clock, wake, endpoints })
  }

  next(call: RoutedCall, missed: Miss | undefined): Target | undefined | Promise<Target | undefined> {
    if (missed !== undefined) return this.#again(call, missed)
    let found
    try {
      found = this.#finder.find(call.head)
    } catch (unknown) {
      const settling = this.#waking?.settling(call.signal)
      if (settling === undefined) throw unknown
      return settling.then(() => this.#begin(call, this.#finder.find(call.head)))
    }
    return this.#begin(call, found)
  }

  #begin(call: RoutedCall, all: Found): Target | Promise<Target> {
    const found = this.#mineOf(all, call)
    const chosen = this.#choose(found.ready, call)
    if (chosen !== undefined) return this.#first(call, chosen)
    const coming = this.#hold(found, call)
    if (coming === undefined) throw noEndpoint(found)
    return coming.then((woken) => {
      const awake = this.#choose(woken, call)
      if (awake === undefined) throw noEndpoint(found)
      return this.#first(call, awake)
    })
  }

  ended({ target }: RoutedCall, outcome: CallOutcome): void {
    const { endpoint } = target as EndpointTarget
    if (outcome === 'answered' && !this.#ejector.isBusy) return
    this.#ejector.note(endpoint.instance, outcome, this.#ejectionOf(endpoint))
    if (outcome === 'answered') this.#ejector.note(endpoint.nodeId, outcome, this.#ejectionOf(endpoint))
  }

  mayRepeat(call: RoutedCall): boolean {
    const { endpoint } = call.target as EndpointTarget
    const route = this.#routeOf(endpoint)
    const terms = methodTerms(route, call.head.path)
    if (!terms.idempotent || terms.hedging !== undefined) return false
    if (leftOf(trailOf(call), terms) === 0) return false
    return this.#units.of(endpoint.unit).budget.withdraw(route.retry_budget)
  }

  hedge(call: RoutedCall): Target | undefined {
    const last = (call.target as EndpointTarget).endpoint
    const route = this.#routeOf(last)
    const { tried } = trailOf(call)
    tried.add(last.instance)
    const { ready } = this.#mineOf(this.#finder.find(call.head), call)
    const fresh = ready.filter(({ instance }) => !tried.has(instance))
    if (fresh.length === 0 || !this.#units.of(last.unit).budget.withdraw(route.retry_budget)) return undefined
    const chosen = this.#choose(fresh, call)
    if (chosen === undefined) return undefined
    tried.add(chosen.instance)
    return this.#targetOf(chosen, call)
  }

  /** @throws HsuError `OVERLOADED` */
  #first(call: RoutedCall, chosen: Endpoint): Target {
    const route = this.#routeOf(chosen)
    if (chosen.nodeId === this.#nodeId) admit(call, this.#seams.limitsOf?.(chosen.unit), route.limits)
    this.#units.of(chosen.unit).budget.deposit(route.retry_budget)
    return this.#targetOf(chosen, call)
  }

  /** What is ready once a unit was waited for; undefined when calls wait for none. */
  #hold({ endpoints }: Found, { head, signal }: RoutedCall): Promise<readonly Endpoint[]> | undefined {
    if (head.steered && head.text('hsu-instance') !== undefined) return undefined
    return this.#waking?.hold(endpoints, head.steered ? head.text('hsu-node') : undefined, signal)
  }

  /**
   * One that was not tried yet; else, when the last one refused (its connection was closing), any of them again, once. A unit
   * may have refused because it is going to sleep or is being restarted: then it is waited for.
   */
  #again(call: RoutedCall, missed: Miss): Target | undefined | Promise<Target | undefined> {
    const last = (call.target as EndpointTarget).endpoint
    this.#note(missed, last)
    const trail = trailOf(call)
    const left = leftOf(trail, methodTerms(this.#routeOf(last), call.head.path))
    trail.tried.add(last.instance)
    if (missed.kind === 'refused') trail.refusals += 1
    if (left === 0) return undefined
    const attempt = (
      fresh: readonly Endpoint[],
      others: readonly Endpoint[],
    ): Target | undefined | Promise<Target | undefined> => {
      const isSame = fresh.length === 0
      const chosen = this.#choose(isSame && missed.kind !== 'unreachable' ? others : fresh, call)
      if (chosen === undefined) return undefined
      trail.left = left - 1
      if (missed.kind !== 'failed') return this.#targetOf(chosen, call)
      trail.failures += 1
      return this.#afterPause(call, chosen, missed, isSame ? trail.failures : 0)
    }
    const isFresh = ({ instance }: Endpoint): boolean => !trail.tried.has(instance)
    const all = this.#finder.find(call.head)
    const found = this.#mineOf(all, call)
    const fresh = found.ready.filter(isFresh)
    const target = attempt(
      fresh.length > 0 ? fresh : all.ready.filter(isFresh),
      found.ready.filter(({ onCall }) => onCall === undefined || (!onCall.starts && trail.refusals < 2)),
    )
    if (target !== undefined) return target
    return this.#hold(found, call)?.then((woken) => attempt(woken.filter(isFresh), woken))
  }

  /** A unit that said when to come again is not asked before; the same one is given a moment in any case. */
  #afterPause(
    call: RoutedCall,
    chosen: Endpoint,
    { pushbackMs }: Miss,
    attempt: number,
  ): Target | Promise<Target | undefined> {
    const { clock, random } = this.#seams
    const pauseMs = pushbackMs ?? (attempt === 0 ? 0 : backoffMs(attempt, SAME_INSTANCE_BACKOFF, random))
    if (pauseMs === 0) return this.#targetOf(chosen, call)
    return clock.sleep(pauseMs, call.signal).then(() => this.#targetOf(chosen, call))
  }

  /** Where units share a service by parts, a call keeps to the part it got; another one gets it once all of that one have failed it. */
  #mineOf(found: Found, call: RoutedCall): Found {
    if (found.split === undefined) return found
    const { head } = call
    const trail = trailOf(call)
    trail.part ??= choosePart(found.split, (key) => head.text(key), this.#seams.random)
    return partOf(found, trail.part)
  }

  #choose(candidates: readonly Endpoint[], call: RoutedCall): Endpoint | undefined {
    const [first] = candidates
    if (first === undefined) return undefined
    const chosen = candidates.length === 1 ? first : this.#pick(candidates, first, call)
    if (chosen !== undefined && this.#ejector.isBusy) {
      this.#ejector.began(chosen.instance)
      this.#ejector.began(chosen.nodeId)
    }
    return chosen
  }

  #pick(candidates: readonly Endpoint[], first: Endpoint, { head }: RoutedCall): Endpoint | undefined {
    const { random, inFlight } = this.#seams
    const { policy, hash_on, prefer, spill_over } = this.#routeOf(first)
    const terms = {
      policy,
      preferredNodeId: prefer === 'host' ? this.#nodeId : undefined,
      preferredZone: this.#zone,
      spillOver: spill_over,
      key: hash_on === undefined ? undefined : head.text(hash_on),
      turn: this.#units.of(first.unit).turn,
    }
    const out = this.#ejector.isBusy ? this.#ejector.outOf(candidates, this.#ejectionOf(first).max_share) : undefined
    return pick(candidates, terms, {
      random,
      inFlight: (instance) => inFlight.of(instance),
      avoid: (endpoint) => out?.has(endpoint) === true,
    })
  }

  /** What a miss teaches: a link that failed speaks for all instances of its node. */
  #note({ kind, error }: Miss, endpoint: Endpoint): void {
    if (error.reason === 'QUEUE_FULL' || kind === 'failed') return
    const { instance, nodeId } = endpoint
    const key = kind === 'unreachable' && error.reason === 'NODE_UNREACHABLE' ? nodeId : instance
    this.#ejector.note(key, 'unreachable', this.#ejectionOf(endpoint))
  }

  #routeOf({ unit }: Endpoint): RouteConfig {
    return this.#seams.routeOf?.(unit) ?? DEFAULT_ROUTE
  }

  #ejectionOf(endpoint: Endpoint): EjectionConfig {
    return this.#routeOf(endpoint).ejection ?? DEFAULT_EJECTION
  }

  #targetOf(endpoint: Endpoint, { head }: RoutedCall): EndpointTarget {
    return this.#targets.of(endpoint, methodTerms(this.#routeOf(endpoint), head.path))
  }
}
