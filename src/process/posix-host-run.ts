import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { aborted, withSignal } from '../base/abort.ts'
import { type Clock, within } from '../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../base/error.ts'
import { accountToRun, variablesOf } from './accounts.ts'
import type { Exit } from './exit.ts'
import type { RunCommand, RunCommandOptions } from './run-command.ts'

/** Output beyond this is dropped; `ps` of a large host stays well below. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

/** How long after its end the output of a command is waited for: what is still written then is written by others. */
const DRAIN_MS = 200

/** Runs short commands as groups of their own, so that their end, abort and timeout end all they started. */
export function runCommand(clock: Clock): RunCommand {
  return (argv, options, outer) =>
    withSignal(outer, async (signal) => {
      signal.throwIfAborted()
      const [program = '', ...args] = argv
      const as = await identityOf(program, options)
      signal.throwIfAborted()
      const child = spawn(program, args, {
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...as,
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const output = collect(child)
      const closed = once(child, 'close').catch(() => undefined)
      const kill = (): void => killGroup(child)
      const { timeoutMs } = options
      // The end of this task aborts `signal` too: the group is killed once, at its limit or at its end.
      const limit = timeoutMs === undefined ? aborted(signal) : clock.sleep(timeoutMs, signal)
      void limit.then(kill, kill)
      const [code, name] = (await once(child, 'exit').catch((cause: unknown) => {
        throw new HsuError('SPAWN_FAILED', `cannot run ${program}: ${messageOf(cause)}`, {
          cause,
          details: { program },
        })
      })) as [number | null, string | null]
      await within(clock, DRAIN_MS, closed)
      child.stdout.destroy()
      outer.throwIfAborted()
      const exit: Exit = code === null ? { signal: name ?? 'SIGKILL' } : { code }
      return { exit, stdout: output() }
    })
}

/** Whose process it is and with what environment, as the unit's own start has it. */
async function identityOf(
  program: string,
  { env, user }: RunCommandOptions,
): Promise<Pick<SpawnOptions, 'uid' | 'gid' | 'env'>> {
  const account = await accountToRun(program, user)
  if (account === undefined) return env === undefined ? {} : { env }
  const { uid, gid } = account
  const variables = variablesOf(account)
  return { uid, gid, env: env === undefined ? { ...process.env, ...variables } : { ...variables, ...env } }
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

/** Also after the command itself has ended: a group id cannot be reused while a member lives. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    // EPERM: what is left belongs to another user, or (macOS) is dead but not reaped. Nobody waits for more.
    if (!['ESRCH', 'EPERM'].includes(systemCode(error) ?? '')) throw error
  }
}
