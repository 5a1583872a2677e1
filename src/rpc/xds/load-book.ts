import { LastSeen } from '../../base/last-seen.ts'
import { wholeOf } from './facts.ts'
import type { Message } from './fields.ts'

/** What clients have reported of the calls they send past us, by place: a slot, as in `echo-0`, or a unit, where clients choose among its slots. */
export interface DirectCalls {
  /** Calls to the place that were under way when clients last reported. */
  inFlight(place: string): number
  /** Calls to the place so far, as reported; begins anew for one that was forgotten. */
  total(place: string): number
  /** By the clock's `nowMs`, when a call to the service or unit of this name was last reported; undefined: never. */
  lastCallAtMs(name: string): number | undefined
}

/** Names remembered; the one that was called least recently goes first. */
const MAX_NAMES = 10_000

/** Localities one client may report; more are not counted. */
const MAX_LOCALITIES = 10_000

/**
 * Load reports of all clients (LRS), put together. A report covers about a second; the last, partial one of a client
 * that ends is lost.
 */
export class LoadBook implements DirectCalls {
  readonly #lastCallAtMs = new LastSeen<number>(MAX_NAMES)
  readonly #totals = new LastSeen<number>(MAX_NAMES)
  readonly #reporters = new Set<Reporter>()

  inFlight(place: string): number {
    let sum = 0
    for (const { inFlight } of this.#reporters) sum += inFlight.get(place) ?? 0
    return sum
  }

  total(place: string): number {
    return this.#totals.get(place) ?? 0
  }

  lastCallAtMs(name: string): number | undefined {
    return this.#lastCallAtMs.get(name)
  }

  /** A client that begins to report; `end` when it is gone, with all it had under way. */
  begin(): {
    readonly report: (request: Message<'LoadStatsRequest'>, nowMs: number) => void
    readonly end: () => void
  } {
    const reporter: Reporter = { inFlight: new Map() }
    this.#reporters.add(reporter)
    return {
      report: (request, nowMs) => {
        const inFlight = new Map<string, number>()
        for (const cluster of request.cluster_stats ?? []) this.#take(cluster, inFlight, nowMs)
        reporter.inFlight = inFlight
      },
      end: () => void this.#reporters.delete(reporter),
    }
  }

  #take(cluster: Message<'ClusterStats'>, inFlight: Map<string, number>, nowMs: number): void {
    let calls = 0
    for (const { locality, ...counts } of cluster.upstream_locality_stats ?? []) {
      const underWay = counts.total_requests_in_progress ?? 0
      const issued = counts.total_issued_requests ?? 0
      calls += underWay + issued
      const place = placeOf(locality)
      if (issued > 0) this.#totals.note(place, this.total(place) + issued)
      if (underWay > 0 && inFlight.size < MAX_LOCALITIES) inFlight.set(place, (inFlight.get(place) ?? 0) + underWay)
    }
    if (calls > 0) this.#lastCallAtMs.note(wholeOf(cluster.cluster_name ?? ''), nowMs)
  }
}

interface Reporter {
  inFlight: ReadonlyMap<string, number>
}

/** The last part of `node/place`, as our own endpoints have it. */
function placeOf(locality: Message<'Locality'> | undefined): string {
  const subZone = locality?.sub_zone ?? ''
  return subZone.slice(subZone.indexOf('/') + 1)
}
