import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { openLogFile } from './log-file.ts'

/** A node that runs without a terminal. */
export interface DetachedNode {
  readonly pid: number
  /** Resolves with words for how it ended, if it ends while somebody looks. */
  readonly ended: Promise<string>
  /** Lets go: the caller may exit and the node goes on. */
  release(): void
}

/** Starts `hsu` (the script `entry`) with `args` in a session of its own, its output added to `logFile`. */
export function startDetached(entry: string, args: readonly string[], logFile: string): Promise<DetachedNode> {
  const fd = openLogFile(logFile)
  const child = spawn(process.execPath, [entry, ...args], { detached: true, stdio: ['ignore', fd, fd] })
  closeSync(fd)
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code ?? 0}` : `killed by ${signal}`))
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('spawn', () => resolve({ pid: child.pid ?? 0, ended, release: () => child.unref() }))
  })
}
