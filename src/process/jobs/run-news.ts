import { formatDurationMs } from '../../base/quantity.ts'
import { toRfc3339 } from '../../base/system-date.ts'
import type { NewEvent, Origin } from '../causes.ts'
import { describeExit } from '../exit.ts'
import type { RunRecord } from './run-record.ts'

/** The events about runs. What their instances do is told by the slots. */

export function runStarted(
  unit: string,
  id: string,
  { cause, tickMs }: Pick<RunRecord, 'cause'> & { readonly tickMs: number | undefined },
  origin: Origin | undefined,
): NewEvent {
  const tick = tickMs === undefined ? undefined : toRfc3339(tickMs)
  const details = { run: id, cause, ...(tick === undefined ? {} : { tick }) }
  const why = tick === undefined ? '' : `its schedule said ${tick}`
  return {
    unit,
    instance: '',
    type: 'run.started',
    reason: `run ${id}`,
    details,
    cause: why,
    causedBy: origin?.causedBy ?? '',
  }
}

export function runEnded(unit: string, run: RunRecord, causedBy: string): NewEvent {
  const { id, state, exit, attempts, startedAtMs, endedAtMs = startedAtMs, instance } = run
  const took = formatDurationMs(Math.max(0, Math.round(endedAtMs - startedAtMs)))
  const type = state === 'completed' || state === 'failed' ? (`run.${state}` as const) : 'run.stopped'
  const why = run.reason || (exit === undefined ? '' : describeExit(exit))
  const how = exit === undefined ? {} : 'code' in exit ? { code: String(exit.code) } : { signal: exit.signal }
  const details = { run: id, attempts: String(attempts), took, ...how }
  const reason = `run ${id}${why === '' ? '' : `: ${why}`}`
  return { unit, instance, type, reason, details, cause: '', causedBy }
}

export function runSkipped(unit: string, tickMs: number, why: string): NewEvent {
  const tick = toRfc3339(tickMs)
  return {
    unit,
    instance: '',
    type: 'run.skipped',
    reason: `the run of ${tick} was left out`,
    details: { tick },
    cause: why,
  }
}

export function runMissed(unit: string, count: number, madeUpFor: boolean): NewEvent {
  const what = count === 1 ? 'one time of the schedule' : `${count} times of the schedule`
  const then = madeUpFor ? '; one run makes up for what was missed' : ''
  const details = { count: String(count) }
  return {
    unit,
    instance: '',
    type: 'run.missed',
    reason: `${what} passed with nobody there${then}`,
    details,
    cause: '',
  }
}
