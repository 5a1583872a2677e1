import type { DetachedNode } from './detach.ts'

/** What the command line does with processes of this host. Units are not its business, they are the node's. */
export interface Processes {
  /** This very command. */
  readonly ownPid: number
  /** Whether a process of that number is there and is not a zombie. */
  isAlive(pid: number): boolean
  /** Starts `hsu` with `args` in the background, its output appended to `logFile`. */
  detach(args: readonly string[], logFile: string): Promise<DetachedNode>
  /** The last lines of a log; empty when there is none. */
  lastLines(logFile: string, count: number): readonly string[]
}
