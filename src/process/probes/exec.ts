import { isSuccess } from '../exit.ts'
import type { Probe } from '../probe.ts'
import { describeRun, type RunCommand, type RunCommandOptions } from '../run-command.ts'

/** Passing when the command exits 0 in time; otherwise its last line of output is the reason. */
export function execProbe(run: RunCommand, argv: readonly string[], options: RunCommandOptions): Probe {
  return async (signal) => {
    const ran = await run(argv, options, signal)
    if (isSuccess(ran.exit)) return true
    throw new Error(describeRun(argv, ran))
  }
}
