import { describeExit, type Exit } from './exit.ts'

export interface RunCommandOptions {
  /** Default: the node's own directory. */
  readonly cwd?: string
  /** The whole environment: nothing is inherited. Default: the node's own. */
  readonly env?: Readonly<Record<string, string>>
  /** Run as this user, with the HOME and USER of theirs where `env` has none. Default: as the node. */
  readonly user?: string | undefined
  /** The command and all it started are killed after this. Default: no limit of its own. */
  readonly timeoutMs?: number
}

/**
 * Runs a short command, without a shell, to its end; stdout is bounded, stderr is dropped, stdin is empty.
 * What it started and left behind ends with it. Abort kills it. @throws HsuError `SPAWN_FAILED` when it cannot be run, the signal's reason when aborted
 */
export type RunCommand = (
  argv: readonly string[],
  options: RunCommandOptions,
  signal: AbortSignal,
) => Promise<{ readonly exit: Exit; readonly stdout: string }>

/** How much of the output is shown. */
const MAX_SAID_CHARS = 200

/** How a command ended, with the last line it wrote: `pg_isready: exited with code 2: no response`. */
export function describeRun(argv: readonly string[], { exit, stdout }: Awaited<ReturnType<RunCommand>>): string {
  const said = stdout.trim().split('\n').at(-1)?.slice(0, MAX_SAID_CHARS) ?? ''
  return `${argv[0] ?? ''}: ${describeExit(exit)}${said === '' ? '' : `: ${said}`}`
}
