import { execFile } from 'node:child_process'

/** Longer than a healthy service manager takes, shorter than an upgrade may. */
const TIMEOUT_MS = 5_000

/**
 * Tells systemd that this process is now the main one of its service (sd_notify(3), MAINPID), by its own tool, for Node.js
 * has no datagram sockets. Without NOTIFY_SOCKET there is nobody to tell. Resolves with what went wrong, if anything did.
 */
export function tellSystemd(env: NodeJS.ProcessEnv, pid: number): Promise<string | undefined> {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return Promise.resolve(undefined)
  return new Promise((resolve) => {
    execFile('systemd-notify', [`--pid=${pid}`, 'READY=1'], { env, timeout: TIMEOUT_MS }, (error) => {
      resolve(error === null ? undefined : error.message)
    })
  })
}
