import { closeSync, openSync, readSync } from 'node:fs'
import { systemCode } from '../base/error.ts'

/** The most that is read of a small file of /proc. */
export const SMALL_BYTES = 4_096

/** Reads a small file of /proc. Undefined when the process has vanished, before or while it is read, or is not ours to read. */
export function readSmall(path: string, scratch: Buffer): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    return scratch.toString('utf8', 0, readSync(fd, scratch, 0, scratch.length, 0))
  } catch (error) {
    passOver(error)
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

export const FORBIDDEN: readonly unknown[] = ['EACCES', 'EPERM']
const UNREADABLE: readonly unknown[] = ['ENOENT', 'ESRCH', ...FORBIDDEN]

/** Passes over what ended while we read (ENOENT, ESRCH) and what is not ours to read. */
export function passOver(error: unknown): void {
  if (!UNREADABLE.includes(systemCode(error))) throw error
}
