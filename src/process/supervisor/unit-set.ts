import { HsuError } from '../../base/error.ts'
import { dependantsFirst } from '../dependencies.ts'
import { isRunBeside } from '../jobs/lanes.ts'
import type { UnitSpec } from '../launch.ts'
import { needsOf } from '../needs.ts'
import type { InstanceStatus } from '../status.ts'
import type { UnmanagedUnit } from '../unmanaged.ts'
import { OwnedUnit } from './owned-unit.ts'

/** An unmanaged unit and its description. */
export interface WatchedUnit {
  spec: UnitSpec
  readonly watched: UnmanagedUnit
}

export type SupervisedUnit = OwnedUnit | WatchedUnit

/** The units of this node by name, in the order in which they were added. */
export class UnitSet {
  readonly #units = new Map<string, SupervisedUnit>()
  #isHandedOver = false

  get specs(): readonly UnitSpec[] {
    return [...this.#units.values()].map(({ spec }) => spec)
  }

  get statuses(): readonly InstanceStatus[] {
    return [...this.#units.values()].flatMap(statusesOf)
  }

  /** The units that are ours. */
  get owned(): readonly OwnedUnit[] {
    return [...this.#units.values()].filter(isOwned)
  }

  get watched(): readonly UnmanagedUnit[] {
    return [...this.#units.values()].flatMap((unit) => (isOwned(unit) ? [] : [unit.watched]))
  }

  has(name: string): boolean {
    return this.#units.has(name)
  }

  get(name: string): SupervisedUnit | undefined {
    return this.#units.get(name)
  }

  /** The unit when it is ours; undefined when there is none, or it is unmanaged. */
  getOwned(name: string): OwnedUnit | undefined {
    const unit = this.#units.get(name)
    return unit !== undefined && isOwned(unit) ? unit : undefined
  }

  /** From now on nobody finds a unit here: another process has them. */
  handOver(): void {
    this.#isHandedOver = true
  }

  /** @throws HsuError `UNIT_NOT_FOUND`, `NODE_DRAINING` when they were handed over */
  find(name: string): SupervisedUnit {
    if (this.#isHandedOver) {
      const text = 'the units of this node are being taken over by another process; try again'
      throw new HsuError('NODE_DRAINING', text, { details: { unit: name } })
    }
    const unit = this.#units.get(name)
    if (unit !== undefined) return unit
    throw new HsuError('UNIT_NOT_FOUND', `no unit '${name}' on this node; 'hsu ps' lists the units of the mesh`, {
      details: { unit: name },
    })
  }

  /** @throws HsuError as `find`, and `UNIT_NOT_MANAGED` */
  findOwned(name: string): OwnedUnit {
    const unit = this.find(name)
    if (isOwned(unit)) return unit
    throw new HsuError('UNIT_NOT_MANAGED', `unit '${name}' is unmanaged: its process is watched, not owned`, {
      details: { unit: name },
    })
  }

  statusesOf(name: string): readonly InstanceStatus[] | undefined {
    const unit = this.#units.get(name)
    return unit === undefined ? undefined : statusesOf(unit)
  }

  /** The unit as those that depend on it see it: runs beside its replicas stand in for none of them. */
  standingOf(name: string): readonly InstanceStatus[] | undefined {
    return this.statusesOf(name)?.filter(({ replica }) => !isRunBeside(replica))
  }

  /** What a start of the unit needs and nobody wants yet, lowest first. */
  needsOf(name: string): readonly OwnedUnit[] {
    const needs = needsOf(name, (each) => {
      const unit = this.getOwned(each)
      if (unit === undefined) return undefined
      const { isJob, spec } = unit
      return { dependsOn: spec.config.depends_on, statuses: this.standingOf(each) ?? [], isJob }
    })
    return needs.flatMap((each) => this.getOwned(each) ?? [])
  }

  set(unit: SupervisedUnit): void {
    this.#units.set(unit.spec.name, unit)
  }

  delete(name: string): void {
    this.#units.delete(name)
  }

  /** Runs `task` for each unit that is ours once it has ended for those that depend on it. @throws the first failure, when all have ended */
  inReverseOrder(task: (unit: OwnedUnit) => Promise<void>, names?: readonly string[]): Promise<void> {
    const specs = names?.flatMap((name) => this.#units.get(name)?.spec ?? []) ?? this.specs
    return dependantsFirst(specs, async ({ name }) => {
      const unit = this.getOwned(name)
      if (unit !== undefined) await task(unit)
    })
  }
}

export function isOwned(unit: SupervisedUnit): unit is OwnedUnit {
  return unit instanceof OwnedUnit
}

function statusesOf(unit: SupervisedUnit): readonly InstanceStatus[] {
  return isOwned(unit) ? unit.statuses : [unit.watched.status]
}
