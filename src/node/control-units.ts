import type { InstanceStatus } from '../process/index.ts'
import type { NodeCore } from './node-core.ts'
import { toUnit, type UnitInit } from './to-proto.ts'

/** The instances of one unit of this node, as the control API shows them. */
export function unitsOf(core: NodeCore, unit: string): UnitInit[] {
  return statusesOf(core, unit).map((status) => unitOf(core, status))
}

export function statusesOf(core: NodeCore, unit: string): InstanceStatus[] {
  return core.supervisor.status().filter((status) => status.unit === unit)
}

export function unitOf(core: NodeCore, status: InstanceStatus): UnitInit {
  return toUnit(status, core.info.name, core.offers.servicesOf(status))
}
