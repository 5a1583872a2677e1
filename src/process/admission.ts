import { formatDurationMs } from '../base/quantity.ts'
import type { UnitConfig } from './config.ts'
import type { InstanceStatus } from './status.ts'

/** What a start waits for. */
export interface Obstacle {
  /** The unit that is not as far as it must be; undefined when it waits for no unit. */
  readonly unit: string | undefined
  /** In words: `waits for 'db' to be healthy; it is starting`. */
  readonly reason: string
}

/** What a unit asks of another before it is started. */
export type Terms = UnitConfig['depends_on'][string]

/** One slot of a unit that others depend on, on this node or another. */
export interface AwaitedSlot {
  /** Unlike that of any other instance in the mesh; '' before the first start. */
  readonly instance: string
  readonly state: string
  readonly ready: boolean
  /** It has a process that is not being ended. */
  readonly isRunning: boolean
  /** It was taken over from the node before, and its probes have not answered yet. */
  readonly isUnasked: boolean
  /** How it is, in words: `backoff: exited with code 1`. */
  readonly text: string
}

/** A slot of this node. */
export function ownSlot({ instance, state, ready, pid, reason }: InstanceStatus): AwaitedSlot {
  const isRunning = pid !== undefined && state !== 'stopping'
  const isUnasked = state === 'up' && !ready && reason === ''
  // For whom that one waits in turn, it says itself.
  const [why = ''] = reason.split(';')
  return { instance, state, ready, isRunning, isUnasked, text: why === '' ? state : `${state}: ${why}` }
}

/** What is known of instances beyond their state. */
export interface Known {
  /** Instances that met the terms before. */
  readonly met: ReadonlySet<string>
  readonly hasLogged: (instance: string) => boolean
}

/** The instances that are as far as `terms` ask: one is enough, except for a job, of which all must be done. */
export function meeting(
  { condition }: Pick<Terms, 'condition'>,
  slots: readonly AwaitedSlot[],
  { met, hasLogged }: Known,
): readonly string[] {
  const isMet = ({ instance, state, ready, isRunning, isUnasked }: AwaitedSlot): boolean => {
    switch (condition) {
      case 'started':
        return isRunning || state === 'completed'
      case 'healthy':
        return ready || (isUnasked && met.has(instance))
      case 'completed':
        return slots.every((slot) => slot.state === 'completed')
      case 'log':
        return isRunning && (met.has(instance) || hasLogged(instance))
    }
  }
  return slots.filter(isMet).map(({ instance }) => instance)
}

/** Why a dependency does not allow a start, in words. `waitedMs` = since the start was wanted; no slots = no unit of this node. */
export function waitingFor(
  name: string,
  terms: Terms,
  slots: readonly AwaitedSlot[] | undefined,
  waitedMs: number,
): string {
  if (slots === undefined) return `waits for '${name}', which is not a unit of this node`
  const { condition, line = '', scope, timeout } = terms
  const wish = condition === 'log' ? `write a line like /${line}/` : `be ${condition}`
  const overdue = waitedMs >= timeout ? `, for more than ${formatDurationMs(timeout)}` : ''
  const where = scope === 'mesh' ? ' on any node' : ''
  return `waits for '${name}'${where} to ${wish}${overdue}; ${presentOf(terms, slots)}`
}

/** That a dependency is not any more what it was when the unit was started, in words. */
export function lossOf(name: string, terms: Terms, slots: readonly AwaitedSlot[]): string {
  return `'${name}' is no longer ${qualityOf(terms)}; ${presentOf(terms, slots)}`
}

/** What a dependency is when it meets `terms`. */
export function qualityOf({ condition }: Terms): string {
  return condition === 'log' ? 'running' : condition
}

function presentOf({ scope }: Terms, slots: readonly AwaitedSlot[]): string {
  if (slots.length > 0) return `it is ${slots.map(({ text }) => text).join(', ')}`
  return scope === 'mesh' ? 'no node has it' : 'it is scaled to 0'
}
