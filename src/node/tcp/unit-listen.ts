/** One address at which the node takes connections for a unit. */
export interface UnitListen {
  readonly unit: string
  /** Name of the unit's port. */
  readonly port: string
  /** `host:port` */
  readonly listen: string
}
