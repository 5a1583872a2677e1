/**
 * One process, for ever: the pid alone is used again by the system, the three together are not.
 * On mismatch nothing may be signalled.
 */
export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the unit of the `ProcessTable` that told; only ever compared for equality. */
  readonly startTime: string
  /** Which run of the operating system it belongs to. */
  readonly bootId: string
}
