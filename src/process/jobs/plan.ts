import { formatDurationMs } from '../../base/quantity.ts'
import type { Concurrency } from '../config/job.ts'
import { describeExit } from '../exit.ts'
import type { SlotRecord } from '../slot-record.ts'
import type { InstanceStatus } from '../status.ts'
import type { RunRecord } from './run-record.ts'

/** What becomes of a run that is due while others of the unit run. */
export type Admission = 'start' | 'skip' | 'replace'

/** Runs of one unit at the same time; what is due beyond that is left out. */
export const MAX_ACTIVE = 100

/** `active`: how many runs of the unit have not ended, wherever that counts. */
export function admit(concurrency: Concurrency, active: number): Admission {
  if (active === 0) return 'start'
  if (concurrency === 'allow') return active < MAX_ACTIVE ? 'start' : 'skip'
  return concurrency === 'forbid' ? 'skip' : 'replace'
}

/** How a run ended. */
export type Outcome = Pick<RunRecord, 'state' | 'exit' | 'reason'>

type SlotView = Pick<InstanceStatus, 'state' | 'exit' | 'reason'>

/** What a run has come to whose slot is at rest. */
export function outcomeOf(
  { state, exit, reason }: SlotView,
  { ending, attempts, deadlineMs, startedAtMs }: Pick<RunRecord, 'ending' | 'attempts' | 'deadlineMs' | 'startedAtMs'>,
): Outcome {
  const how = exit === undefined ? {} : { exit }
  if (state === 'completed') return { state: 'completed', ...how, reason: '' }
  switch (ending) {
    case 'timeout': {
      const allowedMs = (deadlineMs ?? startedAtMs) - startedAtMs
      return { state: 'failed', ...how, reason: `timeout: had not ended after ${formatDurationMs(allowedMs)}` }
    }
    case 'replaced':
      return { state: 'stopped', ...how, reason: 'replaced by a later run' }
    case 'stopped':
      return { state: 'stopped', ...how, reason: 'stopped' }
    case 'closed':
      return { state: 'stopped', ...how, reason: 'the node was stopped' }
    case undefined:
      // At rest by itself: out of attempts, or ended for good for an exceeded limit.
      return { state: 'failed', ...how, reason: failure(reason || describeExit(exit), attempts) }
  }
}

function failure(reason: string, attempts: number): string {
  return attempts > 1 ? `${reason}, in the last of ${attempts} attempts` : reason
}

/**
 * What a node does about a run that the one before it left unfinished: take over what runs there, begin it (it was
 * written down, and nothing of it started), or write down what became of it.
 */
export type Resumption = 'adopt' | 'begin' | Outcome

export function resume(run: RunRecord, slot: SlotRecord | undefined, bootId: string): Resumption {
  if (slot === undefined) return run.attempts === 0 ? 'begin' : { state: 'failed', reason: 'its records were lost' }
  const { phase, exit, reason, waitMs } = slot
  const attempts = Math.max(run.attempts, slot.restarts + 1)
  const isOver = phase === 'completed' || (phase === 'failed' && waitMs === undefined)
  if (isOver) return outcomeOf({ state: phase, exit, reason }, { ...run, attempts })
  if (slot.closed) return outcomeOf({ state: 'down', exit, reason }, { ...run, ending: run.ending ?? 'closed' })
  if (slot.bootId !== bootId) return { state: 'failed', reason: 'lost: the machine was started anew during the run' }
  return 'adopt'
}

/** The runs that are remembered: all that have not ended, and of the others the last `history`. */
export function remembered(runs: readonly RunRecord[], history: number): readonly RunRecord[] {
  let surplus = runs.filter(({ state }) => state !== 'running').length - history
  return runs.filter(({ state }) => state === 'running' || (surplus -= 1) < 0)
}
