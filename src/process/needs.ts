import { meeting, ownSlot, type Terms } from './admission.ts'
import { NEW_TIE } from './dependency-tie.ts'
import type { InstanceStatus } from './status.ts'

/** A unit as those that depend on it see it; undefined = it is not ours to start. */
export interface Needed {
  readonly dependsOn: Readonly<Record<string, Terms>>
  readonly statuses: readonly InstanceStatus[]
  readonly isJob: boolean
}

/**
 * What must be started so that `unit` can be, as nobody wants it yet: the units of this node that it depends on and that
 * are down, with those that these depend on, lowest first. What crashed or is on its way is left to its own terms.
 */
export function needsOf(unit: string, find: (name: string) => Needed | undefined): readonly string[] {
  const needs = new Set<string>()
  const seen = new Set([unit])

  function visit(name: string): void {
    for (const [next, terms] of Object.entries(find(name)?.dependsOn ?? {})) {
      const needed = find(next)
      if (needed === undefined || seen.has(next) || isMet(needed, terms)) continue
      seen.add(next)
      visit(next)
      if (isUnwanted(needed)) needs.add(next)
    }
  }

  visit(unit)
  return [...needs]
}

/** One that waits for a line was started already when it runs. */
function isMet({ statuses }: Needed, terms: Terms): boolean {
  return meeting(terms, statuses.map(ownSlot), { met: NEW_TIE.met, hasLogged: () => true }).length > 0
}

function isUnwanted({ statuses, isJob }: Needed): boolean {
  if (isJob) return statuses.every(({ job }) => job?.active === 0)
  return statuses.every(({ want }) => want === 'down')
}
