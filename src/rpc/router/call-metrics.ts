import { FaultCounts } from './fault-counts.ts'

/** By which door a call came: from a program of this host, or from another node. */
export type CallDoor = 'ingress' | 'link'

/** Upper bounds of the classes of latency, in seconds, as Prometheus has them; the last class has none. */
export const LATENCY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** Names of the gRPC status codes by number (grpc doc/statuscodes.md). */
export const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

/** The name of a status; UNKNOWN for a number that is none. */
export function statusName(status: number): string {
  return STATUS_NAMES[status] ?? 'UNKNOWN'
}

/** Methods come from callers: of one unit so many have a row of their own, and all together so many rows. */
const MAX_METHODS = 200
const MAX_ROWS = 5_000

/** What was counted of the calls of one method to one unit by one door. Plain data. */
export interface CallRow {
  readonly door: CallDoor
  /** '' for calls that found no unit. */
  readonly unit: string
  readonly service: string
  /** `other` for those beyond the bound. */
  readonly method: string
  /** Ended, by the name of the status. */
  readonly codes: Readonly<Record<string, number>>
  readonly inFlight: number
  /** How many took at most so long, by `LATENCY_BOUNDS`, each class for itself; the last is what took longer. */
  readonly latency: readonly number[]
  readonly seconds: number
  /** Of messages, with their frames, from the caller and to it. */
  readonly requestBytes: number
  readonly responseBytes: number
  /** Attempts after the first. */
  readonly retries: number
  /** Held until a unit was awake. */
  readonly held: number
  /** Beyond the limits of the unit. */
  readonly rejected: number
}

/** The calls of one row while it is counted. */
export class CallCounter {
  readonly door: CallDoor
  readonly unit: string
  readonly service: string
  readonly method: string
  inFlight = 0
  requestBytes = 0
  responseBytes = 0
  retries = 0
  held = 0
  rejected = 0
  #seconds = 0
  readonly #codes: number[] = []
  readonly #latency: number[] = Array.from({ length: LATENCY_BOUNDS.length + 1 }, () => 0)

  constructor(door: CallDoor, unit: string, service: string, method: string) {
    this.door = door
    this.unit = unit
    this.service = service
    this.method = method
  }

  /** A call has ended. */
  ended(status: number, tookMs: number): void {
    this.#codes[status] = (this.#codes[status] ?? 0) + 1
    const seconds = tookMs / 1_000
    this.#seconds += seconds
    let at = 0
    while (at < LATENCY_BOUNDS.length && seconds > (LATENCY_BOUNDS[at] ?? 0)) at += 1
    this.#latency[at] = (this.#latency[at] ?? 0) + 1
  }

  get row(): CallRow {
    const { door, unit, service, method, inFlight, requestBytes, responseBytes, retries, held, rejected } = this
    const codes = Object.fromEntries(this.#codes.flatMap((count, status) => [[statusName(status), count]])) as Record<
      string,
      number
    >
    const figures = { inFlight, requestBytes, responseBytes, retries, held, rejected }
    return { door, unit, service, method, codes, ...figures, latency: [...this.#latency], seconds: this.#seconds }
  }
}

/** Counts calls by door, unit, service and method, in bounded memory. */
export class CallMetrics {
  /** What callers did wrong. */
  readonly faults = new FaultCounts()
  /** By path, then by unit and door. */
  readonly #byPath = new Map<string, Map<string, CallCounter>>()
  readonly #methodsOf = new Map<string, number>()
  readonly #others = new Map<string, CallCounter>()
  #rows = 0

  /** Where the calls of a path to a unit are counted. A path that leads nowhere is nobody's method: `unit` is '' then. */
  counter(door: CallDoor, unit: string, path: string): CallCounter {
    if (unit === '') return this.#other(door, '', '')
    const known = this.#byPath.get(path)?.get(`${door} ${unit}`)
    if (known !== undefined) return known
    const [, service = '', method = ''] = /^\/([^/]+)\/([^/]+)$/.exec(path) ?? []
    const methods = this.#methodsOf.get(unit) ?? 0
    if (methods >= MAX_METHODS || this.#rows >= MAX_ROWS) return this.#other(door, unit, '')
    this.#methodsOf.set(unit, methods + 1)
    this.#rows += 1
    const counter = new CallCounter(door, unit, service, method)
    const ofPath = this.#byPath.get(path) ?? new Map<string, CallCounter>()
    this.#byPath.set(path, ofPath.set(`${door} ${unit}`, counter))
    return counter
  }

  rows(): readonly CallRow[] {
    const counters = [...[...this.#byPath.values()].flatMap((ofPath) => [...ofPath.values()]), ...this.#others.values()]
    return counters.map(({ row }) => row)
  }

  #other(door: CallDoor, unit: string, service: string): CallCounter {
    const key = `${door} ${unit}`
    const known = this.#others.get(key) ?? new CallCounter(door, unit, service, 'other')
    this.#others.set(key, known)
    return known
  }
}
