import type { SleepTerms } from '../../process/index.ts'

/** What is seen of one instance at one moment. */
export interface Activity {
  readonly instance: string
  readonly ready: boolean
  /** Calls under way. */
  readonly inFlight: number
  /** Calls so far. */
  readonly calls: number
  /** Connections to its ports that are not the node's own. */
  readonly connections: number
  /** Cores in use, where that counts as work; else 0. */
  readonly cpu: number
}

/** How long a unit has had nothing to do. */
export interface Idleness {
  /** By the clock's `nowMs`. */
  readonly sinceMs: number
  /** Calls so far, by instance: a call that came and went between two looks shows in them. */
  readonly calls: ReadonlyMap<string, number>
}

/** Takes in what is seen now. `before` is undefined for a unit that was not looked at, or had nothing running. */
export function observe(
  before: Idleness | undefined,
  seen: readonly Activity[],
  { cpu }: Pick<SleepTerms, 'cpu'>,
  nowMs: number,
): Idleness {
  const isBusy = (each: Activity): boolean =>
    !each.ready ||
    each.inFlight > 0 ||
    each.connections > 0 ||
    each.cpu > cpu ||
    before?.calls.get(each.instance) !== each.calls
  const calls = new Map(seen.map((each) => [each.instance, each.calls]))
  return { sinceMs: before === undefined || seen.some(isBusy) ? nowMs : before.sinceMs, calls }
}

/** Whether it has been idle long enough to be stopped. */
export function isDue({ sinceMs }: Idleness, { stopAfterMs }: Pick<SleepTerms, 'stopAfterMs'>, nowMs: number): boolean {
  return stopAfterMs !== undefined && nowMs - sinceMs >= stopAfterMs
}

/** Longest and shortest time between two looks; in between a tenth of the idle time. */
const MAX_LOOK_MS = 1_000
const MIN_LOOK_MS = 50

/** How often units with these terms are looked at. */
export function lookEveryMs(terms: readonly Pick<SleepTerms, 'stopAfterMs'>[]): number {
  const shortest = Math.min(...terms.map(({ stopAfterMs }) => stopAfterMs ?? Number.POSITIVE_INFINITY))
  return Math.min(MAX_LOOK_MS, Math.max(MIN_LOOK_MS, shortest / 10))
}
