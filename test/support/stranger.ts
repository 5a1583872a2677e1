import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import type { Test } from 'tap'

/** A process that somebody else started: no node had a hand in it. Ends with the test. */
export interface Stranger {
  readonly pid: number
  /** What it printed first, a line without its end. */
  readonly firstLine: string
  readonly ended: Promise<void>
  kill(signal: NodeJS.Signals): void
  /** False once it has ended and was waited for. */
  readonly alive: boolean
}

export interface StrangerOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** For programs that print nothing. */
  readonly silent?: boolean
}

/** Starts a program in a group of its own, and waits for the first line it prints. */
export async function stranger(
  t: Test,
  [program = '', ...args]: readonly string[],
  { cwd, env, silent = false }: StrangerOptions = {},
): Promise<Stranger> {
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd,
    env: env ?? { PATH: process.env['PATH'] ?? '' },
  })
  const ended = once(child, 'exit').then(() => undefined)
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  t.teardown(async () => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // All of it has ended already.
    }
    await ended
  })
  return {
    pid,
    firstLine: silent ? '' : await firstLineOf(child.stdout),
    ended,
    kill: (signal) => void child.kill(signal),
    get alive() {
      return child.exitCode === null && child.signalCode === null
    },
  }
}

async function firstLineOf(stream: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of stream) {
    text += chunk.toString()
    if (text.includes('\n')) break
  }
  return text.split('\n')[0] ?? ''
}

/** Resident memory of these processes together, as /proc/<pid>/status has it; what has ended counts nothing. */
export function rssBytesOf(...pids: readonly number[]): number {
  const kib = (pid: number): number => {
    try {
      return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      return 0
    }
  }
  return pids.reduce((sum, pid) => sum + kib(pid) * 1_024, 0)
}

/** The children of a process. */
export function childrenOf(pid: number): number[] {
  const parentOf = (each: string): number => {
    try {
      return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1])
    } catch {
      return 0
    }
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number)
}

/** A process and all below it. */
export function treeBelow(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(treeBelow)]
}

/** Whether there is a process of that number, a zombie not counted. */
export function isThere(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** When a process started, to the hundredth of a second that the system keeps; wall clock. */
export function startedAtMs(pid: number): number {
  const [uptime = ''] = readFileSync('/proc/uptime', 'utf8').split(' ')
  return Date.now() - 1_000 * (Number(uptime) - Number(statFields(pid)[19]) / TICKS_PER_SECOND)
}

const TICKS_PER_SECOND = 100

/** The fields of /proc/<pid>/stat from the third on, which is the first after the name. */
function statFields(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
}

/** Processor time of a process so far, its reaped children left out. */
export function cpuMsOf(pid: number): number {
  const fields = statFields(pid)
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND
}
