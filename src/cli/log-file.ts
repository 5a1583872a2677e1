import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'

/** A log this large is put aside before a new node writes to it; one older log is kept. */
const MAX_LOG_BYTES = 10 * 1024 * 1024

/** Opens a node's log for adding to it, and returns its file descriptor. Makes its directory when it is not there. */
export function openLogFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 })
  const fd = openSync(path, 'a', 0o600)
  if (fstatSync(fd).size < MAX_LOG_BYTES) return fd
  closeSync(fd)
  renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

/** The last lines of a log, for the error of a node that did not come up; empty when there is none. */
export function lastLines(path: string, count: number): string[] {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-count)
  } catch {
    return []
  }
}
