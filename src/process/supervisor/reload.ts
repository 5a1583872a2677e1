import { isDeepStrictEqual } from 'node:util'
import { HsuError } from '../../base/error.ts'
import { findCycle, startOrder } from '../dependencies.ts'
import { isJob } from '../jobs/terms.ts'
import type { UnitSpec } from '../launch.ts'

/** What is to be done to make the units that are there those that are wanted. */
export interface ReloadPlan {
  /** Units that are gone, or have become something else by the same name: they are ended and forgotten first. */
  readonly outdated: readonly string[]
  /** Units that go on as what they were, by their new descriptions. */
  readonly kept: readonly UnitSpec[]
  /** All that are wanted, each after those it depends on. */
  readonly order: readonly { readonly spec: UnitSpec; readonly isChanged: boolean }[]
}

/** @throws HsuError `CONFIG_INVALID` when `depends_on` goes in a circle */
export function planReload(present: readonly UnitSpec[], wanted: readonly UnitSpec[]): ReloadPlan {
  const cycle = findCycle(wanted)
  if (cycle !== undefined) {
    throw new HsuError('CONFIG_INVALID', `depends_on goes in a circle: ${cycle.join(' -> ')}`, {
      details: { cycle: cycle.join(' ') },
    })
  }
  const before = new Map(present.map((spec) => [spec.name, spec]))
  const kept = wanted.filter((spec) => isSameKind(before.get(spec.name), spec))
  const names = new Set(kept.map(({ name }) => name))
  return {
    outdated: present.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    kept,
    order: startOrder(wanted).map((spec) => ({ spec, isChanged: !isDeepStrictEqual(before.get(spec.name), spec) })),
  }
}

/** Whether one can become the other while it runs. */
function isSameKind(one: UnitSpec | undefined, other: UnitSpec): boolean {
  if (one === undefined || isJob(one.config) !== isJob(other.config)) return false
  return (one.config.kind === 'unmanaged') === (other.config.kind === 'unmanaged')
}
