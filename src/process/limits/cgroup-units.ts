/** The length of the period in which the time of processors is dealt out. */
export const CPU_PERIOD_US = 100_000

/** The least the kernel takes as a share of a period. */
const MIN_CPU_QUOTA_US = 1_000

/** The shell that leads an instance is in its group too, and is not the unit's. */
export const SHIM_PROCESSES = 1

/** Time of processors in a period, all together. */
export function cpuQuotaUs(cores: number): number {
  return Math.max(MIN_CPU_QUOTA_US, Math.round(cores * CPU_PERIOD_US))
}
