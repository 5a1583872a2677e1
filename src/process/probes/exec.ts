import { describeExit } from '../exit.ts'
import type { Probe } from '../probe.ts'
import type { RunCommand, RunCommandOptions } from '../run-command.ts'

/** How much of the output is shown as the reason. */
const MAX_REASON = 200

/** Passing when the command exits 0 in time; otherwise its last line of output is the reason. */
export function execProbe(run: RunCommand, argv: readonly string[], options: RunCommandOptions): Probe {
  return async (signal) => {
    const { exit, stdout } = await run(argv, options, signal)
    if ('code' in exit && exit.code === 0) return true
    const said = stdout.trim().split('\n').at(-1)?.slice(0, MAX_REASON) ?? ''
    throw new Error(`${argv[0] ?? ''}: ${describeExit(exit)}${said === '' ? '' : `: ${said}`}`)
  }
}
