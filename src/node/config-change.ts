import { isDeepStrictEqual } from 'node:util'
import { launchHash, type UnitSpec } from '../process/index.ts'
import type { NodeSetup } from './node-setup.ts'

/** What a new configuration does to one unit: `restarted` needs a new process, `updated` is taken over as it runs. */
export interface UnitChange {
  readonly unit: string
  readonly change: 'added' | 'removed' | 'restarted' | 'updated'
  /** Keys of the unit that differ; none for added and removed. */
  readonly keys: readonly string[]
}

/** The difference between two configurations of one node. */
export interface ConfigChange {
  readonly units: readonly UnitChange[]
  /** Dotted keys outside `units` that differ: a running process cannot take them over. */
  readonly needsUpgrade: readonly string[]
}

/** Compares two setups by what they say, not by how it is written. Pure. */
export function configChange(before: NodeSetup, after: NodeSetup): ConfigChange {
  return {
    units: unitChanges(before.units, after.units),
    needsUpgrade: keysThatDiffer(withoutUnits(before), withoutUnits(after), ''),
  }
}

function unitChanges(before: readonly UnitSpec[], after: readonly UnitSpec[]): readonly UnitChange[] {
  const old = new Map(before.map((spec) => [spec.name, spec]))
  const kept = new Set(after.map(({ name }) => name))
  const removed = before.filter(({ name }) => !kept.has(name))
  return [
    ...removed.map(({ name }): UnitChange => ({ unit: name, change: 'removed', keys: [] })),
    ...after.flatMap((spec) => changeOf(old.get(spec.name), spec)),
  ]
}

function changeOf(before: UnitSpec | undefined, after: UnitSpec): readonly UnitChange[] {
  const unit = after.name
  if (before === undefined) return [{ unit, change: 'added', keys: [] }]
  if (isDeepStrictEqual(before, after)) return []
  const keys = keysThatDiffer(before.config, after.config, '', 1)
  return [{ unit, change: launchHash(before) === launchHash(after) ? 'updated' : 'restarted', keys }]
}

function withoutUnits({ config }: NodeSetup): Readonly<Record<string, unknown>> {
  const sections = Object.entries(JSON.parse(config.configJson) as Record<string, unknown>)
  return Object.fromEntries(sections.filter(([name]) => name !== 'units'))
}

/** Dotted names of the values that differ, down to `depth` levels. A section that comes or goes counts as one. */
function keysThatDiffer(one: object, other: object, above: string, depth = 3): readonly string[] {
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])]
  return names.flatMap((name) => {
    const [before, after] = [valueOf(one, name), valueOf(other, name)]
    if (isDeepStrictEqual(before, after)) return []
    const both = isRecord(before) && isRecord(after)
    return both && depth > 1 ? keysThatDiffer(before, after, `${above}${name}.`, depth - 1) : [`${above}${name}`]
  })
}

function valueOf(object: object, name: string): unknown {
  return (object as Readonly<Record<string, unknown>>)[name]
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
