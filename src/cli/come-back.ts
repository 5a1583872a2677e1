import { HsuError, type Reason } from '../base/error.ts'

/** How often, and how long, a node that went away is looked for. */
export const RETRY_MS = 500
export const PATIENCE_MS = 60_000

/** What a node that comes back says at first, when it does not know its mesh yet. */
const PASSING: readonly Reason[] = ['NODE_NOT_FOUND', 'UNIT_NOT_FOUND', 'NODE_DRAINING']

/** Whether it may come back by itself. */
export function isGone(error: unknown): boolean {
  return error instanceof HsuError && (error.status === 'UNAVAILABLE' || PASSING.includes(error.reason))
}
