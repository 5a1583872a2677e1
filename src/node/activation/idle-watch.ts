import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { formatDurationMs } from '../../base/quantity.ts'
import { createWake } from '../../base/wake.ts'
import type { InstanceStatus, SleepTerms, Supervisor } from '../../process/index.ts'
import type { CallsSeen } from '../direct.ts'
import { type Activity, type Idleness, isDue, lookEveryMs, observe } from './idle.ts'
import { replicasOf } from './wake-state.ts'

/** Where work shows besides in processor time. */
export interface Traffic {
  /** Calls that are under way to an instance, and all so far: through this node, and those of direct clients as they report them. */
  readonly callsOf: (unit: string, instance: string) => CallsSeen
  /**
   * Established connections to each of these ports of this host, the node's own left out. Empty where the system does
   * not tell.
   */
  readonly connectionsTo: (ports: ReadonlySet<number>) => Promise<ReadonlyMap<number, number>>
}

export interface IdleWatchSeams {
  readonly clock: Clock
  readonly log: Log
  readonly supervisor: Pick<Supervisor, 'status' | 'spec' | 'changes' | 'sleepUnit'>
  readonly termsOf: (unit: string) => SleepTerms | undefined
  readonly traffic: Traffic
}

/** A unit that may be put to sleep now. */
interface Watched {
  readonly unit: string
  readonly terms: SleepTerms
}

/** Puts units to sleep that have nothing to do. Resolves soon after `signal` aborts; looks at nothing while none may sleep. */
export async function watchIdle(seams: IdleWatchSeams, signal: AbortSignal): Promise<void> {
  const { clock, supervisor, log } = seams
  const news = createWake()
  const unsubscribe = supervisor.changes.subscribe(news.notify)
  signal.addEventListener('abort', news.notify)
  let idleness: ReadonlyMap<string, Idleness> = new Map()
  try {
    while (!signal.aborted) {
      const watched = watchedUnits(seams)
      if (watched.length === 0) {
        idleness = new Map()
        await news.wait()
        continue
      }
      idleness = await look(watched, idleness, seams).catch((error: unknown) => {
        log.warn('it is not known which units are idle', { error })
        return idleness
      })
      await clock.sleep(lookEveryMs(watched.map(({ terms }) => terms)), signal).catch(() => undefined)
    }
  } finally {
    signal.removeEventListener('abort', news.notify)
    unsubscribe()
  }
}

function watchedUnits({ supervisor, termsOf }: IdleWatchSeams): readonly Watched[] {
  const statuses = supervisor.status()
  return [...new Set(statuses.map(({ unit }) => unit))].flatMap((unit) => {
    const terms = termsOf(unit)
    if (terms?.stopAfterMs === undefined) return []
    const hasSpare = replicasOf(unit, statuses).some((each) => isAwake(each) && each.replica >= terms.min)
    return hasSpare ? [{ unit, terms }] : []
  })
}

function isAwake({ state }: InstanceStatus): boolean {
  return state === 'up' || state === 'starting'
}

async function look(
  watched: readonly Watched[],
  before: ReadonlyMap<string, Idleness>,
  { clock, supervisor, traffic, log }: IdleWatchSeams,
): Promise<ReadonlyMap<string, Idleness>> {
  const names = new Set(watched.map(({ unit }) => unit))
  const ports = supervisor.status().flatMap((status) => (names.has(status.unit) ? Object.values(status.ports) : []))
  const connections = await traffic.connectionsTo(new Set(ports))
  // From here to the end of the function nothing is waited for: no call can begin in between.
  const statuses = supervisor.status()
  const after = new Map<string, Idleness>()
  for (const { unit, terms } of watched) {
    const awake = replicasOf(unit, statuses).filter(isAwake)
    const seen = awake.map((status) => activityOf(status, connections, traffic))
    const known = isNeeded(unit, statuses, supervisor) ? undefined : before.get(unit)
    const now = observe(known, seen, terms, clock.nowMs())
    if (awake.length > 0 && !isDue(now, terms, clock.nowMs())) after.set(unit, now)
    else if (awake.length > 0) putToSleep(unit, terms, { supervisor, log })
  }
  return after
}

function activityOf(
  { unit, instance, ready, ports, kind, cpu }: InstanceStatus,
  connections: ReadonlyMap<number, number>,
  { callsOf }: Traffic,
): Activity {
  const { inFlight, total } = callsOf(unit, instance)
  const open = Object.values(ports).reduce((sum, port) => sum + (connections.get(port) ?? 0), 0)
  return { instance, ready, inFlight, calls: total, connections: open, cpu: kind === 'integrated' ? 0 : cpu }
}

/** A unit that runs depends on it. */
function isNeeded(unit: string, statuses: readonly InstanceStatus[], { spec }: Pick<Supervisor, 'spec'>): boolean {
  const running = new Set(statuses.filter(isAwake).map((status) => status.unit))
  return [...running].some((name) => Object.hasOwn(spec(name)?.config.depends_on ?? {}, unit))
}

function putToSleep(
  unit: string,
  { min, stopAfterMs = 0 }: SleepTerms,
  { supervisor, log }: Pick<IdleWatchSeams, 'supervisor' | 'log'>,
): void {
  try {
    supervisor.sleepUnit(unit, min, `idle for ${formatDurationMs(stopAfterMs)}`)
  } catch (thrown) {
    // It was removed, or another process is taking over the units.
    log.debug('unit is not put to sleep', { unit, reason: HsuError.from(thrown).reason })
  }
}
