/** Runs of a unit that is kept running are numbered from here on, above its replicas, of which there are at most this many. */
export const FIRST_LANE_BESIDE = 1_000

/** Whether this replica number is of a run beside the replicas of a unit: it does a task of its own, and stands in for none of them. */
export function isRunBeside(replica: number): boolean {
  return replica >= FIRST_LANE_BESIDE
}

/** The lowest replica number that no run has. Those from `first` on are for runs. */
export function freeLane(taken: readonly number[], first: number): number {
  let lane = first
  while (taken.includes(lane)) lane += 1
  return lane
}
