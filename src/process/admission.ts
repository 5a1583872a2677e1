import { formatDurationMs } from '../base/quantity.ts'
import type { UnitConfig } from './config.ts'
import type { InstanceStatus } from './status.ts'

/** What a start waits for. */
export interface Obstacle {
  /** The unit that is not as far as it must be. */
  readonly unit: string
  /** In words: `waits for 'db' to be healthy; it is starting`. */
  readonly reason: string
}

type Dependency = UnitConfig['depends_on'][string]

/** Why a dependency does not allow a start yet, in words; undefined when it does. `waitedMs` = since the start was wanted. */
export function waitsFor(
  name: string,
  { condition, scope, timeout }: Dependency,
  statuses: readonly InstanceStatus[] | undefined,
  waitedMs: number,
): string | undefined {
  if (scope === 'mesh') return `waits for '${name}' on any node: scope: mesh is not supported yet`
  if (statuses === undefined) return `waits for '${name}', which is not a unit of this node`
  if (isMet(condition, statuses)) return undefined
  const present = statuses.map(({ state, reason }) => (reason === '' ? state : `${state}: ${reason}`)).join(', ')
  const overdue = waitedMs >= timeout ? `, for more than ${formatDurationMs(timeout)}` : ''
  return `waits for '${name}' to be ${condition}${overdue}; it is ${present || 'scaled to 0'}`
}

/** One replica that has come so far is enough, except for a job, of which all must be done. */
function isMet(condition: Dependency['condition'], statuses: readonly InstanceStatus[]): boolean {
  switch (condition) {
    case 'started':
      return statuses.some(({ pid, state }) => pid !== undefined || state === 'completed')
    case 'healthy':
      return statuses.some(({ ready }) => ready)
    case 'completed':
      return statuses.length > 0 && statuses.every(({ state }) => state === 'completed')
  }
}
