import pidusage from 'pidusage'
import { HsuError } from '../base/error.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import type { ProcessInfo, ProcessTable } from './process-table.ts'
import type { RunCommand } from './run-command.ts'

/** `LC_ALL=C` fixes the form of dates; `PATH` is where systems keep `ps` and `sysctl`. */
const ENV = { LC_ALL: 'C', PATH: '/bin:/usr/bin:/sbin:/usr/sbin' }
/** A system under load is slow to list its processes, but not this slow. */
const TIMEOUT_MS = 10_000
const COLUMNS = 'pid=,ppid=,pgid=,stat=,vsz=,lstart=,comm='
const ROW = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s+(\S+ +\S+ +\d+ +[\d:]+ +\d{4})\s+(.*)$/

type Row = Omit<ProcessInfo, 'argv' | 'cpuMs' | 'rssBytes'>

/**
 * The process table of POSIX systems without /proc (macOS, the BSDs): `ps` for who, pidusage for how much.
 * A start time has the resolution of `ps`, one second. Arguments that hold spaces cannot be told apart.
 */
export function portableTable(run: RunCommand): ProcessTable {
  const command = async (...argv: string[]): Promise<string | undefined> => {
    const never = new AbortController().signal
    const { exit, stdout } = await run(argv, { env: ENV, timeoutMs: TIMEOUT_MS }, never)
    return 'code' in exit && exit.code === 0 ? stdout : undefined
  }

  async function read(...which: string[]): Promise<ProcessInfo[]> {
    const rows = parseRows((await command('ps', ...which, '-o', COLUMNS)) ?? '')
    const args = parseArgs((await command('ps', ...which, '-o', 'pid=,args=')) ?? '')
    const usage = await readUsage(rows.map(({ pid }) => pid))
    return rows.map((row) => ({ ...row, argv: args.get(row.pid) ?? [], ...(usage.get(row.pid) ?? NO_USAGE) }))
  }

  let bootId: Promise<string> | undefined
  return {
    bootId() {
      bootId ??= readBootId(command).catch((error: unknown) => {
        bootId = undefined
        throw error
      })
      return bootId
    },
    list: () => read('-A'),
    get: async (pid) => (await read('-p', String(pid)))[0],
    marked: () => Promise.resolve([]),
    listeners() {
      const text = `this operating system (${process.platform}) does not tell which process listens on a port; use pid_file or name`
      return Promise.reject(new HsuError('UNSUPPORTED', text, { details: { platform: process.platform } }))
    },
  }
}

async function readBootId(command: (...argv: string[]) => Promise<string | undefined>): Promise<string> {
  for (const name of ['kern.bootsessionuuid', 'kern.boottime']) {
    const text = (await command('sysctl', '-n', name))?.trim()
    if (text !== undefined && text !== '') return text
  }
  throw new HsuError('UNSUPPORTED', `this operating system (${process.platform}) does not tell when it was started`)
}

/** Rows that are not in the expected form are left out. */
function parseRows(text: string): Row[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, ppid, pgid, state = '', virtualKib, started = '', executable = ''] = ROW.exec(line) ?? []
    if (pid === undefined) return []
    return {
      pid: Number(pid),
      ppid: Number(ppid),
      pgid: Number(pgid),
      sessionId: 0,
      virtualBytes: Number(virtualKib) * 1_024,
      startTime: started.replace(/ +/g, ' '),
      // Not RFC 3339, but the form of ctime(3), in local time, which the same parser takes.
      startedAtMs: parseRfc3339Ms(started),
      // Linux prints the name alone, macOS the path; a login shell has a leading '-'.
      name: executable.slice(executable.lastIndexOf('/') + 1),
      executable: executable.startsWith('/') ? executable : undefined,
      state: state.slice(0, 1),
    }
  })
}

function parseArgs(text: string): ReadonlyMap<number, readonly string[]> {
  const args = new Map<number, readonly string[]>()
  for (const line of text.split('\n')) {
    const [pid, ...words] = line.trim().split(/\s+/)
    if (pid !== undefined && pid !== '') args.set(Number(pid), words)
  }
  return args
}

interface Usage {
  readonly cpuMs: number
  readonly rssBytes: number
}

const NO_USAGE: Usage = { cpuMs: 0, rssBytes: 0 }

/** What pidusage cannot tell, because all of the processes ended meanwhile, is not used. */
async function readUsage(pids: readonly number[]): Promise<ReadonlyMap<number, Usage>> {
  if (pids.length === 0) return new Map()
  // maxage 0: no memory of earlier calls and no timer; rates are computed by the meter. usePs: what these systems use
  // anyway; reading /proc, which pidusage 4.1.0 does on Linux, never ends with maxage 0 and leaks a descriptor each round.
  const stats: Readonly<Record<string, pidusage.Status | null>> = await pidusage([...pids], {
    maxage: 0,
    usePs: true,
  }).catch(() => ({}))
  const usages = new Map<number, Usage>()
  for (const stat of Object.values(stats)) {
    // Some ways of asking give null for a process that is gone.
    if (stat !== null) usages.set(stat.pid, { cpuMs: stat.ctime, rssBytes: stat.memory })
  }
  return usages
}
