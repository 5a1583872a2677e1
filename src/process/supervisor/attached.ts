import type { Log } from '../../base/log.ts'
import type { ProcessIdentity } from '../identity.ts'
import type { UnitSpec } from '../launch.ts'

/** A line of the log. */
const SHADOWED = 'a unit of the configuration has the name of an attached one and wins; hsu detach removes that one'

/** The unmanaged units that people added: those that are watched, and those that would be but for one of the configuration. */
export class AttachedUnits {
  readonly #log: Log
  readonly #units = new Map<string, { readonly spec: UnitSpec; readonly known: ProcessIdentity | undefined }>()

  constructor(log: Log) {
    this.#log = log
  }

  /** `known` = as what its process was found. */
  put(spec: UnitSpec, known: ProcessIdentity | undefined): void {
    this.#units.set(spec.name, { spec, known })
  }

  /** False when there is none of that name. */
  delete(unit: string): boolean {
    return this.#units.delete(unit)
  }

  has(unit: string): boolean {
    return this.#units.has(unit)
  }

  knownAs(unit: string): ProcessIdentity | undefined {
    return this.#units.get(unit)?.known
  }

  /** Those that no unit of the configuration stands in for; of the others it is said that they wait. */
  beside(configured: readonly UnitSpec[]): readonly UnitSpec[] {
    const taken = new Set(configured.map(({ name }) => name))
    const isFree = ({ spec }: { readonly spec: UnitSpec }): boolean => !taken.has(spec.name)
    for (const { spec } of this.#units.values()) if (taken.has(spec.name)) this.warnOfShadow(spec.name)
    return [...this.#units.values()].filter(isFree).map(({ spec }) => spec)
  }

  warnOfShadow(unit: string): void {
    this.#log.warn(SHADOWED, { unit })
  }
}
