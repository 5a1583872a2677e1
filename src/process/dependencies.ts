/** The part of a unit that ordering needs. */
export interface Dependent {
  readonly name: string
  readonly config: { readonly depends_on: Readonly<Record<string, unknown>> }
}

/** The names along a cycle of `depends_on`, the first again at the end; undefined when there is none. */
export function findCycle(units: readonly Dependent[]): readonly string[] | undefined {
  const byName = new Map(units.map((unit) => [unit.name, unit]))
  const done = new Set<string>()

  function visit(name: string, path: readonly string[]): readonly string[] | undefined {
    const at = path.indexOf(name)
    if (at >= 0) return [...path.slice(at), name]
    if (done.has(name)) return undefined
    for (const next of Object.keys(byName.get(name)?.config.depends_on ?? {})) {
      const cycle = visit(next, [...path, name])
      if (cycle !== undefined) return cycle
    }
    done.add(name)
    return undefined
  }

  for (const { name } of units) {
    const cycle = visit(name, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/** The units with each after those it depends on, otherwise in the order given. What is in a cycle comes in some order. */
export function startOrder<T extends Dependent>(units: readonly T[]): readonly T[] {
  const byName = new Map(units.map((unit) => [unit.name, unit]))
  const ordered = new Set<T>()
  const begun = new Set<string>()

  function visit(unit: T): void {
    if (begun.has(unit.name)) return
    begun.add(unit.name)
    for (const name of Object.keys(unit.config.depends_on)) {
      const dependency = byName.get(name)
      if (dependency !== undefined) visit(dependency)
    }
    ordered.add(unit)
  }

  for (const unit of units) visit(unit)
  return [...ordered]
}

/** Who depends on `name`, directly. */
export function dependantsOf(name: string, units: readonly Dependent[]): readonly string[] {
  return units.filter(({ config }) => Object.hasOwn(config.depends_on, name)).map((unit) => unit.name)
}

/**
 * Runs `task` for each unit once it has ended, well or badly, for those that depend on it; units without a tie run at once.
 * @throws the first failure, when all have ended
 */
export async function dependantsFirst<T extends Dependent>(
  units: readonly T[],
  task: (unit: T) => Promise<void>,
): Promise<void> {
  const done = new Map<string, Promise<void>>()
  for (const unit of [...startOrder(units)].reverse()) {
    const before = dependantsOf(unit.name, units).flatMap((dependant) => done.get(dependant) ?? [])
    done.set(
      unit.name,
      Promise.allSettled(before).then(() => task(unit)),
    )
  }
  await Promise.allSettled(done.values())
  await Promise.all(done.values())
}
