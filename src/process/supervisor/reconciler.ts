import type { Log } from '../../base/log.ts'
import type { DependencyGate } from '../dependency-gate.ts'
import type { UnitSpec } from '../launch.ts'
import type { Forwarding } from '../logs/forwarding.ts'
import { type UnmanagedSeams, UnmanagedUnit } from '../unmanaged.ts'
import type { Watches } from '../watch/watches.ts'
import type { AttachedUnits } from './attached.ts'
import type { Inheritance } from './inheritance.ts'
import { OwnedUnit, type OwnedUnitSeams } from './owned-unit.ts'
import { planReload } from './reload.ts'
import { isOwned, type UnitSet } from './unit-set.ts'

export interface ReconcilerSeams {
  readonly log: Log
  readonly units: UnitSet
  readonly gate: DependencyGate
  readonly watches: Watches
  readonly inheritance: Inheritance
  readonly forwarding: Pick<Forwarding, 'begin' | 'retain'>
  readonly owned: OwnedUnitSeams
  readonly unmanaged: UnmanagedSeams
  readonly attached: Pick<AttachedUnits, 'has' | 'knownAs'>
}

/** Makes the set of units what is wanted. Its methods are to be called one at a time. */
export class Reconciler {
  readonly #seams: ReconcilerSeams
  readonly #runDir: string

  constructor(seams: ReconcilerSeams, runDir: string) {
    this.#seams = seams
    this.#runDir = runDir
  }

  /** @throws HsuError `CONFIG_INVALID` for a cycle in `depends_on` */
  async apply(specs: readonly UnitSpec[]): Promise<void> {
    const { units, inheritance, forwarding } = this.#seams
    const { outdated, kept, order } = planReload(units.specs, specs)
    await forwarding.begin(specs)
    // From here on what a unit depends on is what the new configuration says: what it drops is not lost to anybody.
    for (const spec of kept) this.#describe(spec)
    await this.remove(outdated)
    for (const { spec, isChanged } of order) {
      if (isChanged) await this.#put(spec)
      else this.#keep(spec.name)
    }
    forwarding.retain(specs)
    await inheritance.clear((unit) => units.has(unit))
  }

  /** Adds an unmanaged unit; resolves when it was first looked for. */
  watch(spec: UnitSpec): Promise<void> {
    const watched = new UnmanagedUnit(this.#seams.unmanaged, spec)
    this.#seams.units.set({ spec, watched })
    return watched.begin(this.#seams.attached.knownAs(spec.name))
  }

  /** Ends these units, dependants first, and forgets them. An attached one may come back as the same process. */
  async remove(names: readonly string[]): Promise<void> {
    const { units, gate, watches, attached } = this.#seams
    await units.inReverseOrder((unit) => unit.remove(), names)
    for (const name of names) {
      await watches.delete(name)
      gate.forget(name)
      const unit = units.get(name)
      if (unit !== undefined && !isOwned(unit)) await unit.watched.end(attached.has(name) ? 'for now' : 'for good')
      units.delete(name)
    }
  }

  #describe(spec: UnitSpec): void {
    const unit = this.#seams.units.find(spec.name)
    if (isOwned(unit)) unit.describe(spec)
    else unit.spec = spec
  }

  /** What has not changed is not touched; what it depends on may have. */
  #keep(name: string): void {
    const unit = this.#seams.units.getOwned(name)
    if (unit === undefined) return
    this.#seams.gate.settle(unit)
    unit.reconsider()
  }

  /** Adds or updates one unit. A fault of one never keeps the others from starting. */
  async #put(spec: UnitSpec): Promise<void> {
    const { units, watches, log } = this.#seams
    const present = units.get(spec.name)
    try {
      if (present === undefined) await this.#add(spec)
      else if (isOwned(present)) await this.#update(present)
      else await present.watched.reconfigure(spec)
      await watches.put(spec)
    } catch (error) {
      log.error('unit cannot be supervised', { unit: spec.name, error })
    }
  }

  async #add(spec: UnitSpec): Promise<void> {
    if (spec.config.kind === 'unmanaged') {
      void this.watch(spec)
      return
    }
    const { units, gate, owned } = this.#seams
    const unit = new OwnedUnit(owned, spec, this.#runDir)
    units.set(unit)
    await gate.begin(unit, () => unit.begin())
  }

  async #update(unit: OwnedUnit): Promise<void> {
    unit.reconfigure()
    this.#seams.gate.settle(unit)
    unit.reconsider()
    await unit.fit()
  }
}
