import { wholeOf } from './facts.ts'
import type { Message } from './fields.ts'

/** What clients have reported of the calls they send past us. */
export interface DirectCalls {
  /** Calls to the slot that were under way when clients last reported; `slot` as in `echo-0`. */
  inFlight(slot: string): number
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
  readonly #lastCallAtMs = new Map<string, number>()
  readonly #reporters = new Set<Reporter>()

  inFlight(slot: string): number {
    let sum = 0
    for (const { inFlight } of this.#reporters) sum += inFlight.get(slot) ?? 0
    return sum
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
      calls += underWay + (counts.total_issued_requests ?? 0)
      const slot = slotOfLocality(locality)
      if (underWay > 0 && inFlight.size < MAX_LOCALITIES) inFlight.set(slot, (inFlight.get(slot) ?? 0) + underWay)
    }
    if (calls > 0) this.#called(wholeOf(cluster.cluster_name ?? ''), nowMs)
  }

  #called(name: string, nowMs: number): void {
    this.#lastCallAtMs.delete(name)
    this.#lastCallAtMs.set(name, nowMs)
    const [oldest] = this.#lastCallAtMs.keys()
    if (this.#lastCallAtMs.size > MAX_NAMES && oldest !== undefined) this.#lastCallAtMs.delete(oldest)
  }
}

interface Reporter {
  inFlight: ReadonlyMap<string, number>
}

/** The last part of `node/slot`, as our own endpoints have it. */
function slotOfLocality(locality: Message<'Locality'> | undefined): string {
  const subZone = locality?.sub_zone ?? ''
  return subZone.slice(subZone.indexOf('/') + 1)
}
