import { readFileSync, readlinkSync } from 'node:fs'
import type { Dossier } from './process-table.ts'

/** Reads from /proc what is known of a process. What has ended, or is not ours to read, is undefined. */
export function procDossier(pid: number): Dossier {
  const path = (name: string): string => `/proc/${pid}/${name}`
  return {
    get uid() {
      const text = known(() => readFileSync(path('status'), 'utf8'))
      // Of the four ids on the line (real, effective, saved, file system) the second says what it may do.
      const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(text ?? '')?.[1]
      return uid === undefined ? undefined : Number(uid)
    },
    get cwd() {
      return known(() => readlinkSync(path('cwd')))
    },
    get env() {
      const text = known(() => readFileSync(path('environ'), 'utf8'))
      return text === undefined ? undefined : parseEnvironment(text)
    },
  }
}

/** The text of `/proc/<pid>/environ`: NAME=value, each ended by a zero byte (proc_pid_environ(5)). */
function parseEnvironment(text: string): Record<string, string> {
  const entries = text.split('\0').flatMap((entry) => {
    const at = entry.indexOf('=')
    return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)] as const] : []
  })
  return Object.fromEntries(entries)
}

function known<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
