import { formatDurationMs } from '../base/quantity.ts'
import { describeExit, type Exit } from './exit.ts'
import type { ProcessEvent } from './status.ts'
import type { UnitEvent, UnitState } from './unit-state.ts'

/** What there is to tell of a step; the rest of the event is known by whoever made the step. */
export type News = Pick<ProcessEvent, 'type' | 'reason' | 'details' | 'cause'>

/** The events that a step of the lifecycle amounts to, in order. */
export function newsOf(before: UnitState, after: UnitState, event: UnitEvent): readonly News[] {
  const news: News[] = []
  if (event.type === 'exited') news.push(exited(event.exit, after.fault || before.fault))
  if (after.phase !== before.phase) news.push(...entered(after, event))
  if (after.phase === 'up' && after.ready !== before.ready) {
    const type = after.ready ? 'unit.ready' : 'unit.unready'
    news.push({ type, reason: after.reason, details: {}, cause: '' })
  }
  return news
}

function exited(exit: Exit | undefined, cause: string): News {
  return { type: 'unit.exited', reason: describeExit(exit), details: exitDetails(exit), cause }
}

function exitDetails(exit: Exit | undefined): Record<string, string> {
  if (exit === undefined) return {}
  return 'code' in exit ? { code: String(exit.code) } : { signal: exit.signal }
}

function entered({ phase, reason, waitMs, streak, crashesAtMs }: UnitState, { type }: UnitEvent): readonly News[] {
  const crashes = String(crashesAtMs.length)
  switch (phase) {
    case 'stopping':
      return [{ type: 'unit.stopping', reason, details: {}, cause: type === 'restart' ? 'restart' : reason }]
    case 'backoff': {
      const wait = waitMs ?? 0
      const details = { waitMs: String(wait), streak: String(streak), crashes }
      return [{ type: 'unit.backoff', reason: `restart in ${formatDurationMs(wait)}`, details, cause: reason }]
    }
    case 'failed': {
      const next =
        waitMs === undefined ? 'stays down until it is started' : `is tried again in ${formatDurationMs(waitMs)}`
      const details = { crashes, ...(waitMs === undefined ? {} : { waitMs: String(waitMs) }) }
      return [{ type: 'unit.failed', reason: `${reason}; ${next}`, details, cause: reason }]
    }
    case 'completed':
      return [{ type: 'unit.completed', reason, details: {}, cause: '' }]
    case 'down':
      return [{ type: 'unit.down', reason, details: {}, cause: '' }]
    case 'starting':
    case 'up':
      return []
  }
}
