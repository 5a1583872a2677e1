import { existsSync, readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { passOver, readSmall, SMALL_BYTES } from './proc-files.ts'
import type { ProcessDetails } from './process-table.ts'

const NONE: ProcessDetails = { files: 0, ioReadBytes: 0, ioWriteBytes: 0 }

/** Open files and storage traffic of one process, about 15 µs. Read at once, so one buffer serves all. */
export function detailsReader(): (pid: number) => ProcessDetails {
  const scratch = Buffer.alloc(SMALL_BYTES)
  const countFiles = fileCounter()
  return (pid) => {
    const files = countFiles(pid)
    const io = readSmall(`/proc/${pid}/io`, scratch)
    if ((files === undefined || io === undefined) && !existsSync(`/proc/${pid}`)) return NONE
    return { files, ...(io === undefined ? {} : parseProcIo(io)) }
  }
}

/**
 * The counters of `/proc/<pid>/io` (proc_pid_io(5)) that are about storage: `rchar` and `wchar` would count pipes and
 * terminals too. A kernel without task accounting has none of them.
 */
export function parseProcIo(text: string): Pick<ProcessDetails, 'ioReadBytes' | 'ioWriteBytes'> {
  const read = /^read_bytes: (\d+)$/m.exec(text)?.[1]
  const written = /^write_bytes: (\d+)$/m.exec(text)?.[1]
  return {
    ...(read === undefined ? {} : { ioReadBytes: Number(read) }),
    ...(written === undefined ? {} : { ioWriteBytes: Number(written) }),
  }
}

/** Since Linux 6.2 the size of the directory `fd` is the number of open files; before, they are counted one by one. */
function fileCounter(): (pid: number) => number | undefined {
  const tells = (statSync('/proc/self/fd', { throwIfNoEntry: false })?.size ?? 0) > 0
  const count = (path: string): number => (tells ? statSync(path).size : readdirSync(path).length)
  return (pid) => {
    try {
      return count(`/proc/${pid}/fd`)
    } catch (error) {
      passOver(error)
      return undefined
    }
  }
}

/** `Pss` of `/proc/<pid>/smaps_rollup`, Linux 4.14 and newer. Off the main thread: it takes long for large processes. */
export async function readPssBytes(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1').catch(passOver)
  const kib = /^Pss:\s+(\d+) kB$/m.exec(text ?? '')?.[1]
  return kib === undefined ? undefined : Number(kib) * 1_024
}
