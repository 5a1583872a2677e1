import type { HedgingConfig, RouteConfig } from '../config.ts'
import { STATUS_NAMES } from './call-metrics.ts'
import type { HedgeTerms } from './hedging.ts'

/** What holds for the calls of one method. */
export interface MethodTerms {
  readonly retries: number
  readonly timeoutMs: number | undefined
  /** A call that a unit may have seen can be sent again. */
  readonly idempotent: boolean
  /** Such calls may be sent to several instances at once. */
  readonly hedging: HedgeTerms | undefined
}

const known = new WeakMap<RouteConfig, Map<string, MethodTerms>>()

/** Methods that are remembered of one route: paths come from callers. */
const MAX_PATHS = 1_000

/** The terms of a method, by the path of its calls: those of the method itself, else of its service, else of the route. */
export function methodTerms(route: RouteConfig, path: string): MethodTerms {
  const ofRoute = known.get(route) ?? new Map<string, MethodTerms>()
  known.set(route, ofRoute)
  const found = ofRoute.get(path)
  if (found !== undefined) return found
  const terms = look(route, path)
  if (ofRoute.size < MAX_PATHS) ofRoute.set(path, terms)
  return terms
}

function look({ methods, retries, timeout }: RouteConfig, path: string): MethodTerms {
  const name = path.slice(1)
  const service = name.slice(0, name.indexOf('/'))
  const method = own(methods, name) ?? own(methods, `${service}/*`)
  return {
    retries: method?.retries ?? retries,
    timeoutMs: method?.timeout ?? timeout,
    idempotent: method?.idempotent ?? false,
    hedging: method?.hedging && hedgeTerms(method.hedging),
  }
}

function hedgeTerms({ attempts, delay, non_fatal }: HedgingConfig): HedgeTerms {
  return { attempts, delayMs: delay, nonFatal: new Set(non_fatal.map((name) => STATUS_NAMES.indexOf(name))) }
}

function own(methods: RouteConfig['methods'], name: string): RouteConfig['methods'][string] | undefined {
  return Object.hasOwn(methods, name) ? methods[name] : undefined
}
