import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { RunCommand } from './run-command.ts'

/** The main process of a systemd service; undefined when systemd does not answer, or knows of none. */
export type MainPidOf = (service: string) => Promise<number | undefined>

/** systemd answers from memory; one that does not within this is not well, and is not waited for. */
const TIMEOUT_MS = 2_000

/** Asks `systemctl`. A host without it is one without systemd; that is said once, at the level of details. */
export function systemctlMainPid(run: RunCommand, env: Readonly<Record<string, string>>, log: Log): MainPidOf {
  const never = new AbortController().signal
  let said = false
  const sayOnce = (cause: string): void => {
    if (!said) log.debug('systemd does not answer; services are found by their control groups', { cause })
    said = true
  }
  return async (service) => {
    const argv = ['systemctl', 'show', '--property=MainPID', '--', service]
    try {
      const { exit, stdout } = await run(argv, { env, timeoutMs: TIMEOUT_MS }, never)
      if ('code' in exit && exit.code === 0) return parseMainPid(stdout)
      sayOnce(stdout.trim())
    } catch (error) {
      sayOnce(messageOf(error))
    }
    return undefined
  }
}

/** Reads `MainPID=4711`; systemd says 0 for a service that has none. */
export function parseMainPid(text: string): number | undefined {
  const pid = Number(/^MainPID=(\d+)$/m.exec(text)?.[1])
  return pid > 0 ? pid : undefined
}

/**
 * Whether the text of /proc/<pid>/cgroup puts a process into `service`: `0::/system.slice/sshd.service`, with any groups
 * above and below. With version 1 there are several lines, of which that of systemd tells (cgroups(7)).
 */
export function isInService(cgroup: string | undefined, service: string): boolean {
  const paths = (cgroup ?? '').split('\n').map((line) => line.split(':').slice(2).join(':'))
  return paths.some((path) => path.split('/').includes(service))
}
