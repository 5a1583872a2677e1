import type { NodeSetup } from './node-setup.ts'

/** A setup whose units can be exchanged while the node runs. */
export interface LiveSetup {
  /** Always the one in force: the parts keep it, and ask it anew each time. */
  readonly setup: NodeSetup
  /** From now on the units are those of `next`; everything else stays as it is. Returns the way back. */
  exchange(next: NodeSetup): () => void
}

/** The parts of a node hold one setup for life; this one changes what it answers. */
export function createLiveSetup(first: NodeSetup): LiveSetup {
  let current = first
  return {
    setup: {
      ...first,
      get units() {
        return current.units
      },
      servicesOf: (unit) => current.servicesOf(unit),
      routeOf: (unit) => current.routeOf(unit),
      termsOf: (unit) => current.termsOf(unit),
      listens: () => current.listens(),
      partitionOf: (unit) => current.partitionOf(unit),
      get config() {
        return current.config
      },
    },
    exchange(next) {
      const before = current
      current = { ...next, units: withVariablesOf(first, next) }
      return () => {
        current = before
      }
    },
  }
}

/** A name of the node that is not in force yet must not reach its units either. */
export function withVariablesOf({ name, paths }: NodeSetup, { units }: NodeSetup): NodeSetup['units'] {
  const variables = { nodeName: name, dataDir: paths.dataDir }
  return units.map((spec) => ({ ...spec, variables }))
}
