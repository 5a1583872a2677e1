import { addedEnvironment, type EnvironmentOf, type InstanceStatus } from '../process/index.ts'
import type { UnitClient } from './direct.ts'

export interface EnvironmentFacts {
  readonly nodeName: string
  readonly controlSocket: string
  /** Known once the ingress listens. */
  readonly ingressAddress: () => string
  /** What xDS clients need to begin. */
  readonly xds: (client: UnitClient) => Readonly<Record<string, string>>
}

/** What the node adds to the environment of its units, so that they find it and are named alike in every tool. */
export function unitEnvironment(facts: EnvironmentFacts): EnvironmentOf {
  return ({ unit, instance }) => ({
    ...programEnvironment(facts, { unit, instance }),
    OTEL_SERVICE_NAME: unit,
    OTEL_RESOURCE_ATTRIBUTES: `service.instance.id=${instance},host.name=${facts.nodeName}`,
  })
}

/** How the node tells others of what it adds to environments. */
export interface EnvironmentReport {
  /** For a program of this host that is no unit. */
  ofProgram(): Readonly<Record<string, string>>
  /** Of the first of these instances of a unit that was ever started; empty when none was, and when they are unmanaged. */
  ofUnit(instances: readonly InstanceStatus[]): Readonly<Record<string, string>>
}

export function environmentReport(facts: EnvironmentFacts): EnvironmentReport {
  const environmentOf = unitEnvironment(facts)
  return {
    ofProgram: () => programEnvironment(facts, {}),
    ofUnit(instances) {
      const started = instances.filter(({ kind, instance }) => kind !== 'unmanaged' && instance !== '')
      const [first] = started.sort((one, other) => one.replica - other.replica)
      return first === undefined ? {} : addedEnvironment(first, environmentOf)
    },
  }
}

function programEnvironment(
  { nodeName, controlSocket, ingressAddress, xds }: EnvironmentFacts,
  client: UnitClient,
): Record<string, string> {
  return { HSU_NODE: nodeName, HSU_INGRESS: ingressAddress(), HSU_CONTROL: controlSocket, ...xds(client) }
}
