import type { UnitSpec } from '../launch.ts'
import type { InstanceStatus } from '../status.ts'
import type { RunRecord } from './run-record.ts'

/** How a run that ended is shown as an instance. */
export function stateOf(state: RunRecord['state']): InstanceStatus['state'] {
  if (state === 'running') return 'up'
  return state === 'stopped' ? 'down' : state
}

/** A job of which nothing runs, as its last run, if it had one. */
export function restingStatus({ name, config }: UnitSpec, last: RunRecord | undefined): Omit<InstanceStatus, 'job'> {
  return {
    unit: name,
    instance: last?.instance ?? '',
    replica: last?.lane ?? 0,
    kind: config.kind,
    state: last === undefined ? 'down' : stateOf(last.state),
    ready: false,
    pid: undefined,
    startedAtMs: undefined,
    restarts: Math.max(0, (last?.attempts ?? 0) - 1),
    cpu: 0,
    rssBytes: 0,
    ports: {},
    limits: [],
    exit: last?.exit,
    reason: last?.reason ?? '',
    want: 'down',
    retryAtMs: undefined,
    eventId: last?.eventId ?? '',
  }
}
