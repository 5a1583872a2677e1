import { formatDurationMs } from '../base/quantity.ts'
import { describeExit, type Exit } from './exit.ts'
import type { ProcessEvent } from './status.ts'
import type { ProbeFacts, UnitEvent, UnitState } from './unit-state.ts'

/** What there is to tell of a step; the rest of the event is known by whoever made the step. */
export interface News extends Pick<ProcessEvent, 'type' | 'reason' | 'details' | 'cause'> {
  /** Whether what was told before brought it about; false for what comes from outside: a crash, a probe. */
  readonly follows: boolean
}

/** The events that a step of the lifecycle amounts to, in order. */
export function newsOf(before: UnitState, after: UnitState, event: UnitEvent, crashWindowMs: number): readonly News[] {
  const news: News[] = []
  if (event.type === 'unhealthy' && after !== before) news.push(unhealthy(event.reason, event.facts))
  if (event.type === 'startTimeout' && after !== before) news.push(unhealthy(after.reason, undefined))
  if (event.type === 'exited') news.push(exited(before, after, event))
  if (after.phase !== before.phase) news.push(...entered(before, after, event, crashWindowMs))
  if (event.type === 'blocked' && after.reason !== '' && terms(after.reason) !== terms(before.reason)) {
    const details = event.awaited === undefined ? {} : { for: event.awaited }
    news.push({ type: 'unit.waiting', reason: terms(after.reason), details, cause: '', follows: true })
  }
  if (after.phase === 'up' && after.ready !== before.ready) news.push(readiness(before, after, event.facts))
  return news
}

/** For whom and for what a unit waits, without how that one is at the moment: not each of its changes is news of who waits. */
function terms(reason: string): string {
  return reason.split(';')[0] ?? ''
}

function readiness(before: UnitState, after: UnitState, facts: ProbeFacts | undefined): News {
  if (!after.ready) return { type: 'unit.unready', reason: after.reason, ...probeNews(facts), follows: false }
  // Ready for the first time follows from the start, or from being taken over; ready again, from the probe.
  const follows = before.phase === 'starting' || before.reason === ''
  return { type: 'unit.ready', reason: after.reason, details: {}, cause: '', follows }
}

function unhealthy(reason: string, facts: ProbeFacts | undefined): News {
  const told = facts === undefined ? reason : `${facts.probe} probe failed ${times(facts.failures)}`
  return { type: 'unit.unhealthy', reason: told, ...probeNews(facts), follows: false }
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`
}

function probeNews(facts: ProbeFacts | undefined): Pick<News, 'details' | 'cause'> {
  if (facts === undefined) return { details: {}, cause: '' }
  const { probe, failures, reasons } = facts
  return { details: { probe, failures: String(failures), reasons: reasons.join('; ') }, cause: reasons.at(-1) ?? '' }
}

/** An end that we brought about follows from what made us do so; any other comes from outside. */
function exited(before: UnitState, after: UnitState, { exit, reason, overuse, causedBy = '' }: UnitEvent): News {
  const follows = before.phase === 'stopping' || before.fault !== '' || causedBy !== ''
  const cause = after.fault || before.fault || (overuse === undefined ? '' : reason)
  const kind = before.overuse || overuse !== undefined ? { kind: 'resource_limit' } : {}
  return { type: 'unit.exited', reason: describeExit(exit), details: { ...exitDetails(exit), ...kind }, cause, follows }
}

function exitDetails(exit: Exit | undefined): Record<string, string> {
  if (exit === undefined) return {}
  return 'code' in exit ? { code: String(exit.code) } : { signal: exit.signal }
}

function entered(before: UnitState, after: UnitState, { type }: UnitEvent, crashWindowMs: number): readonly News[] {
  const { phase, reason, waitMs, streak, crashesAtMs } = after
  const crashes = String(crashesAtMs.length)
  const follows = true
  switch (phase) {
    case 'stopping': {
      const cause = type === 'restart' || type === 'forceRestart' ? 'restart' : reason
      return [{ type: 'unit.stopping', reason, details: {}, cause, follows }]
    }
    case 'backoff': {
      const wait = waitMs ?? 0
      const details = { waitMs: String(wait), streak: String(streak), crashes }
      return [{ type: 'unit.backoff', reason: `restart in ${formatDurationMs(wait)}`, details, cause: reason, follows }]
    }
    case 'failed': {
      const next =
        waitMs === undefined ? 'stays down until it is started' : `is tried again in ${formatDurationMs(waitMs)}`
      const gaveUp = after.gaveUp && type !== 'spawnFailed'
      const why = gaveUp ? gaveUpReason(before, after, crashWindowMs) : reason
      const details = { crashes, ...(waitMs === undefined ? {} : { waitMs: String(waitMs) }) }
      return [{ type: 'unit.failed', reason: `${why}; ${next}`, details, cause: reason, follows: type === 'exited' }]
    }
    case 'completed':
      return [{ type: 'unit.completed', reason, details: {}, cause: '', follows }]
    case 'down':
      return [{ type: after.asleep ? 'unit.asleep' : 'unit.down', reason, details: {}, cause: '', follows }]
    case 'starting':
    case 'up':
      return []
  }
}

function gaveUpReason(before: UnitState, { crashesAtMs }: UnitState, crashWindowMs: number): string {
  if (before.gaveUp) return 'crashed again when it was tried once more'
  return `crashed ${times(crashesAtMs.length)} in ${formatDurationMs(crashWindowMs)}`
}
