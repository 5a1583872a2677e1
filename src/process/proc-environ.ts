import { closeSync, openSync, readSync } from 'node:fs'
import { passOver } from './proc-files.ts'

/** Longer environments are read in several parts. */
const PART_BYTES = 32_768

/** Tells whether a process was started with exactly this `NAME=value`; false where we may not look. */
export function markReader(variable: string): (pid: number) => boolean {
  // Variables end in a zero byte each (proc_pid_environ(5)), so one is in front of each, the first excepted.
  const entry = Buffer.from(`\0${variable}\0`)
  const scratch = Buffer.alloc(entry.length + PART_BYTES)
  return (pid) => {
    try {
      const fd = openSync(`/proc/${pid}/environ`, 'r')
      try {
        return holds(fd, entry, scratch)
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      passOver(error)
      return false
    }
  }
}

function holds(fd: number, entry: Buffer, scratch: Buffer): boolean {
  scratch[0] = 0
  // Bytes before those that are read next: the zero in front of the first variable, later what an entry may have begun in.
  let kept = 1
  for (;;) {
    const count = readSync(fd, scratch, kept, scratch.length - kept, null)
    if (count === 0) return false
    const filled = scratch.subarray(0, kept + count)
    if (filled.includes(entry)) return true
    kept = Math.min(entry.length - 1, filled.length)
    filled.copyWithin(0, filled.length - kept)
  }
}
