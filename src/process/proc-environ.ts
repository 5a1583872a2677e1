import { closeSync, openSync, readSync } from 'node:fs'
import { passOver } from './proc-files.ts'

/** What is read at once at first; longer environments make the buffer grow. */
const FIRST_BYTES = 32_768
/** The kernel starts no program with more (execve(2): 6 MiB). */
const MAX_BYTES = 8 * 1024 * 1024

const ZERO = Buffer.from('\0')

/**
 * Tells which of these `NAME=value` a process was started with exactly; none where we may not look. One read serves all of
 * them, however many values of a name are looked for.
 */
export function marksReader(variables: Iterable<string>): (pid: number) => readonly string[] {
  const wanted = new Set(variables)
  // Variables end in a zero byte each (proc_pid_environ(5)), so one is in front of each, the first excepted.
  const names = new Set([...wanted].map((variable) => `\0${variable.slice(0, variable.indexOf('=') + 1)}`))
  const needles = [...names].map((name) => Buffer.from(name))
  let scratch = Buffer.alloc(FIRST_BYTES)
  ZERO.copy(scratch)

  /** The environment with a zero in front, in the scratch buffer. */
  function read(pid: number): Buffer {
    const fd = openSync(`/proc/${pid}/environ`, 'r')
    try {
      let filled = 1
      for (;;) {
        const count = readSync(fd, scratch, filled, scratch.length - filled, null)
        filled += count
        if (count === 0 || filled > MAX_BYTES) return scratch.subarray(0, filled)
        if (filled === scratch.length) scratch = Buffer.concat([scratch], scratch.length * 2)
      }
    } finally {
      closeSync(fd)
    }
  }

  return (pid) => {
    try {
      const environment = read(pid)
      return needles.flatMap((needle) => entriesAt(environment, needle)).filter((entry) => wanted.has(entry))
    } catch (error) {
      passOver(error)
      return []
    }
  }
}

/** The variables that begin with `needle`, which is a zero and a name. One without a zero at its end was cut off, and is none. */
function entriesAt(environment: Buffer, needle: Buffer): string[] {
  const entries: string[] = []
  for (let at = environment.indexOf(needle); at >= 0; at = environment.indexOf(needle, at + 1)) {
    const end = environment.indexOf(ZERO, at + 1)
    if (end < 0) break
    entries.push(environment.toString('utf8', at + 1, end))
  }
  return entries
}
