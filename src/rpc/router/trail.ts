import type { RoutedCall } from '../target.ts'
import type { MethodTerms } from './method-terms.ts'
import type { Part } from './split.ts'

/** What is kept of one call from its first attempt to its last. */
export interface Trail {
  /** What it goes to of a service whose calls are split. */
  part?: Part
  readonly tried: Set<string>
  /** Attempts it still has; undefined before the first has failed. */
  left?: number
  /** Attempts that a unit may have seen. */
  failures: number
  refusals: number
}

export function trailOf(call: RoutedCall): Trail {
  const trail = (call.trail as Trail | undefined) ?? { tried: new Set<string>(), failures: 0, refusals: 0 }
  call.trail = trail
  return trail
}

/** Attempts that a call with this trail still has. */
export function leftOf(trail: Trail, { retries }: MethodTerms): number {
  return (trail.left ??= retries)
}
