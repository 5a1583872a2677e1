import { backoffMs, type BackoffPolicy } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { EjectionConfig, RouteConfig } from '../config.ts'
import { DEFAULT_EJECTION, DEFAULT_ROUTE } from '../default-route.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import { makeField } from '../h2/field.ts'
import type { CallOutcome, LinkTarget, Miss, RoutedCall, Router, Target } from '../target.ts'
import { admit, type CallLimits } from './call-limits.ts'
import { Ejector } from './ejection.ts'
import { Finder, type Found } from './found.ts'
import type { InFlight } from './in-flight.ts'
import { methodTerms, type MethodTerms } from './method-terms.ts'
import { pick } from './pick.ts'
import { RetryBudget } from './retry-budget.ts'
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
  /** The calls that this node lets through to a unit of its own. Left out: all. */
  readonly limitsOf?: (unit: string) => CallLimits
  /** Starts units that sleep, and waits for those that start, for the calls that come for them; without it these are not held. */
  readonly wake?: Wake
}

/** An endpoint as a target. */
interface EndpointTarget extends Target {
  readonly endpoint: Endpoint
}

/** The attempts of one call after its first. */
interface Trail {
  readonly tried: Set<string>
  left: number
  /** Attempts that a unit may have seen. */
  failures: number
  refusals: number
}

/** Between two attempts at the same instance, which has just said that it is not available. */
const SAME_INSTANCE_BACKOFF: BackoffPolicy = { minMs: 25, maxMs: 1_000, factor: 2, jitter: 0.2 }

/** Units whose budgets and turns are remembered; more than a mesh can have. */
const MAX_UNITS = 10_000

/** What is kept of the calls to one unit. */
interface UnitCalls {
  readonly budget: RetryBudget
  readonly turn: { next: number }
}

/** Sends a call to an endpoint of the service it names, and elsewhere when that one certainly did not get it, or may get it twice. */
export function createServiceRouter(seams: ServiceRouteSeams, nodeId: string): Router {
  return new ServiceRouter(seams, nodeId)
}

class ServiceRouter implements Router {
  readonly #seams: ServiceRouteSeams
  readonly #nodeId: string
  readonly #finder: Finder
  readonly #ejector: Ejector
  readonly #waking: Waking | undefined
  readonly #units = new Map<string, UnitCalls>()
  /** Endpoints are made anew when anything about them changes. */
  readonly #targets = new WeakMap<Endpoint, EndpointTarget>()

  constructor(seams: ServiceRouteSeams, nodeId: string) {
    this.#seams = seams
    this.#nodeId = nodeId
    this.#finder = new Finder(seams.endpoints)
    const { clock, wake, endpoints } = seams
    this.#ejector = new Ejector(clock)
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

  #begin(call: RoutedCall, found: Found): Target | Promise<Target> {
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
    if (!terms.idempotent || terms.hedging !== undefined || this.#trailOf(call, terms).left === 0) return false
    return this.#callsOf(endpoint.unit).budget.withdraw(route.retry_budget)
  }

  hedge(call: RoutedCall): Target | undefined {
    const last = (call.target as EndpointTarget).endpoint
    const route = this.#routeOf(last)
    const { tried } = this.#trailOf(call, methodTerms(route, call.head.path))
    tried.add(last.instance)
    const fresh = this.#finder.find(call.head).ready.filter(({ instance }) => !tried.has(instance))
    if (fresh.length === 0 || !this.#callsOf(last.unit).budget.withdraw(route.retry_budget)) return undefined
    const chosen = this.#choose(fresh, call)
    if (chosen === undefined) return undefined
    tried.add(chosen.instance)
    return this.#targetOf(chosen, call)
  }

  /** @throws HsuError `OVERLOADED` */
  #first(call: RoutedCall, chosen: Endpoint): Target {
    const route = this.#routeOf(chosen)
    if (chosen.nodeId === this.#nodeId) admit(call, this.#seams.limitsOf?.(chosen.unit), route.limits)
    this.#callsOf(chosen.unit).budget.deposit(route.retry_budget)
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
    const trail = this.#trailOf(call, methodTerms(this.#routeOf(last), call.head.path))
    trail.tried.add(last.instance)
    if (missed.kind === 'refused') trail.refusals += 1
    if (trail.left === 0) return undefined
    const attempt = (
      fresh: readonly Endpoint[],
      others: readonly Endpoint[],
    ): Target | undefined | Promise<Target | undefined> => {
      const isSame = fresh.length === 0
      const chosen = this.#choose(isSame && missed.kind !== 'unreachable' ? others : fresh, call)
      if (chosen === undefined) return undefined
      trail.left -= 1
      if (missed.kind !== 'failed') return this.#targetOf(chosen, call)
      trail.failures += 1
      return this.#afterPause(call, chosen, missed, isSame ? trail.failures : 0)
    }
    const isFresh = ({ instance }: Endpoint): boolean => !trail.tried.has(instance)
    const found = this.#finder.find(call.head)
    const target = attempt(
      found.ready.filter(isFresh),
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

  #trailOf(call: RoutedCall, { retries }: MethodTerms): Trail {
    const trail = (call.trail as Trail | undefined) ?? {
      tried: new Set<string>(),
      left: retries,
      failures: 0,
      refusals: 0,
    }
    call.trail = trail
    return trail
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
      spillOver: spill_over,
      key: hash_on === undefined ? undefined : head.text(hash_on),
      turn: this.#callsOf(first.unit).turn,
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

  #callsOf(unit: string): UnitCalls {
    const known = this.#units.get(unit)
    if (known !== undefined) return known
    const calls = { budget: new RetryBudget(this.#seams.clock), turn: { next: -1 } }
    if (this.#units.size >= MAX_UNITS) this.#units.clear()
    this.#units.set(unit, calls)
    return calls
  }

  #targetOf(endpoint: Endpoint, { head }: RoutedCall): EndpointTarget {
    const route = this.#routeOf(endpoint)
    const { timeoutMs, hedging } = methodTerms(route, head.path)
    const known = this.#targets.get(endpoint)
    const isSame = known?.timeoutMs === timeoutMs && known?.hedging === hedging
    if (known !== undefined && endpoint.nodeId === this.#nodeId && isSame) return known
    const { unit, instance, nodeId, node, address } = endpoint
    const shared = { endpoint, unit, instance, timeoutMs, hedging }
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
