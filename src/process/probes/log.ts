import type { Probe } from '../probe.ts'

/** Whether a line that the instance wrote since its start has matched. The first question begins the looking. */
export type HasLogged = (pattern: RegExp) => boolean

/** Passing once a line has matched, and from then on. */
export function logProbe(hasLogged: HasLogged, pattern: RegExp): Probe {
  return async () => {
    if (hasLogged(pattern)) return true
    throw new Error(`no line of output has matched ${pattern.source} yet`)
  }
}
