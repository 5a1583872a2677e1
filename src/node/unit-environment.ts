import type { EnvironmentOf } from '../process/index.ts'
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
export function unitEnvironment({ nodeName, controlSocket, ingressAddress, xds }: EnvironmentFacts): EnvironmentOf {
  return ({ unit, instance }) => ({
    HSU_NODE: nodeName,
    HSU_INGRESS: ingressAddress(),
    HSU_CONTROL: controlSocket,
    ...xds({ unit, instance }),
    OTEL_SERVICE_NAME: unit,
    OTEL_RESOURCE_ATTRIBUTES: `service.instance.id=${instance},host.name=${nodeName}`,
  })
}
