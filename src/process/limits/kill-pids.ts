import { systemCode } from '../../base/error.ts'

/** Times a group is looked at again for processes that were started while others were killed. */
const MAX_ROUNDS = 20

/**
 * Kills the processes of a group until no new one shows up. Without a way to stop them all first, one may start another in the
 * meantime; each round finds those.
 */
export async function killPids(pidsOf: () => Promise<readonly number[]>, kill: (pid: number) => void): Promise<void> {
  const killed = new Set<number>()
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const fresh = (await pidsOf()).filter((pid) => !killed.has(pid))
    if (fresh.length === 0) return
    for (const pid of fresh) {
      kill(pid)
      killed.add(pid)
    }
  }
}

/** Membership of a group, read just before, proves whose process it is. */
export function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error
  }
}
