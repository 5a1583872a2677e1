import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { aborted, withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../base/error.ts'
import type { Exit } from './exit.ts'
import type { RunCommand } from './run-command.ts'

/** Output beyond this is dropped; `ps` of a large host stays well below. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

/** Runs short commands as groups of their own, so that abort and timeout end all they started. */
export function runCommand(clock: Clock): RunCommand {
  return (argv, { cwd, env, timeoutMs }, outer) =>
    withSignal(outer, async (signal) => {
      signal.throwIfAborted()
      const [program = '', ...args] = argv
      const child = spawn(program, args, {
        ...(cwd === undefined ? {} : { cwd }),
        ...(env === undefined ? {} : { env }),
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const output = collect(child)
      const closed = once(child, 'close')
      const kill = (): void => killGroup(child)
      const limit = timeoutMs === undefined ? aborted(signal) : clock.sleep(timeoutMs, signal)
      void limit.then(kill, kill)
      const [code, name] = (await closed.catch((cause: unknown) => {
        throw new HsuError('SPAWN_FAILED', `cannot run ${program}: ${messageOf(cause)}`, {
          cause,
          details: { program },
        })
      })) as [number | null, string | null]
      outer.throwIfAborted()
      const exit: Exit = code === null ? { signal: name ?? 'SIGKILL' } : { code }
      return { exit, stdout: output() }
    })
}

function collect({ stdout }: ChildProcess): () => string {
  const chunks: Buffer[] = []
  let length = 0
  stdout?.on('data', (chunk: Buffer) => {
    if (length < MAX_OUTPUT_BYTES) chunks.push(chunk)
    length += chunk.length
  })
  return () => Buffer.concat(chunks).toString('utf8', 0, MAX_OUTPUT_BYTES)
}

/** Only while the command itself has not been reaped: its pid, and so its group, is still its own. */
function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error
  }
}
