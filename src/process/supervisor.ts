import type { Service } from '../base/lifecycle.ts'
import type { Topic } from '../base/topic.ts'
import { requested, type Tell } from './causes.ts'
import { createJobDesk, type Jobs } from './jobs/desk.ts'
import type { UnitSpec } from './launch.ts'
import type { LogLine, LogQuery } from './output.ts'
import type { InstanceStatus, ProcessEvent } from './status.ts'
import { createLife } from './supervisor/life.ts'
import { createParts } from './supervisor/parts.ts'
import { createRequests, needsStarter, type UnitRequests } from './supervisor/requests.ts'
import type { SupervisorConfig, SupervisorSeams } from './supervisor/seams.ts'
import { createUnmanagedRequests, type UnmanagedRequests } from './supervisor/unmanaged-requests.ts'
import type { UsageQuery, UsageSeries } from './usage-history.ts'

/** Keeps the units of this machine as they are wanted. */
export interface Supervisor extends Service, UnitRequests, UnmanagedRequests {
  /**
   * Makes the set of units equal to `specs`: adds, removes (stops), restarts those whose launch changed. What an
   * earlier node left is taken over. Starts in dependency order; resolves without waiting for readiness.
   *
   * @throws HsuError `CONFIG_INVALID` for a cycle in `depends_on`, `NOT_STARTED` before `start`
   */
  apply(specs: readonly UnitSpec[]): Promise<void>
  /** From memory, cheap; in the order of `apply`. */
  readonly status: () => readonly InstanceStatus[]
  spec(unit: string): UnitSpec | undefined
  /** Adds an event to those of the units and returns its id. */
  readonly tell: Tell
  /** Runs of units as jobs. */
  readonly jobs: Jobs
  /** Each change of state, readiness, pid or ports. */
  readonly changes: Topic<InstanceStatus>
  readonly events: Topic<ProcessEvent>
  /** What the units used in the last hour. @throws HsuError `UNIT_NOT_FOUND` */
  usage(query: UsageQuery): readonly UsageSeries[]
  /** Lines of the units, merged by time. @throws HsuError `UNIT_NOT_FOUND` */
  logs(query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>
  /** Lets go of all units without stopping them: another node with the same directories takes them over. */
  abandon(): Promise<void>
}

export function createSupervisor(seams: SupervisorSeams, config: SupervisorConfig): Supervisor {
  const parts = createParts(seams, config)
  const { units, turns, reconciler, attached, account, news, gauges, output } = parts
  const logs: Supervisor['logs'] = async function* (query, signal) {
    for (const unit of query.units) units.find(unit)
    yield* output.query(query, signal)
  }
  return {
    name: 'supervisor',
    ...createLife(parts),
    ...createRequests(parts),
    ...createUnmanagedRequests(parts),
    apply: (specs) => turns.take(() => reconciler.apply([...specs, ...attached.beside(specs)])),
    status: () => units.statuses,
    spec: (unit) => units.get(unit)?.spec,
    tell: account.tell,
    jobs: createJobDesk({
      unitOf: (unit) => units.findOwned(unit).jobs,
      request: (unit, operation, asker) => ({ causedBy: account.tell(requested(unit, operation, asker)) }),
      startNeeds: needsStarter(parts),
      logs,
    }),
    changes: news.changes,
    events: account.events,
    usage(query) {
      for (const unit of query.units) units.find(unit)
      return gauges.history.query(query)
    },
    logs,
  }
}
