import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { repoRoot } from '../test/support/paths.ts'

/** What the program is to write. */
export interface Order {
  readonly bytes: number
  /** No faster than this. JSON knows no infinity: a huge number is as fast as it can. */
  readonly bytesPerMs: number
}

/** What the writing took, as the program itself saw it. */
export interface Report {
  readonly ms: number
  /** The write that waited longest. */
  readonly worstMs: number
}

const POLL_MS = 2
const GIVE_UP_MS = 120_000
/** The last line is looked for in so much of the end of each file. */
const TAIL_BYTES = 4_096

export function endOfRun(run: number): string {
  return `this is the end of run ${run}`
}

export function floodArgv(directory: string): readonly [string, ...string[]] {
  return [process.execPath, join(repoRoot, 'dist/bench/flood-program.js'), directory]
}

/** Has the program in `directory` write. Resolves with its report. */
export async function floodOnce(directory: string, run: number, order: Order): Promise<Report> {
  const done = join(directory, `done-${run}`)
  writeFileSync(join(directory, `go-${run}`), JSON.stringify(order), { flag: 'wx' })
  await seen(() => existsSync(done), `the program to write in run ${run}`)
  return JSON.parse(readFileSync(done, 'utf8')) as Report
}

/** Resolves when the last line of a run is in one of the log files in `logs`. */
export async function stored(logs: string, run: number): Promise<void> {
  await seen(() => logFilesIn(logs).some((file) => tailOf(file).includes(endOfRun(run))), `run ${run} in ${logs}`)
}

async function seen(met: () => boolean, what: string): Promise<void> {
  const startedAt = performance.now()
  while (!met()) {
    await pause(POLL_MS)
    if (performance.now() - startedAt > GIVE_UP_MS) throw new Error(`bench: waited too long for ${what}`)
  }
}

function logFilesIn(directory: string): string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .filter((name) => name.includes('.log'))
    .map((name) => join(directory, name))
}

/** Empty for a file that rotation has just taken away. */
function tailOf(file: string): string {
  try {
    const opened = openSync(file, 'r')
    try {
      const tail = Buffer.alloc(TAIL_BYTES)
      const read = readSync(opened, tail, 0, TAIL_BYTES, Math.max(0, statSync(file).size - TAIL_BYTES))
      return tail.toString('latin1', 0, read)
    } finally {
      closeSync(opened)
    }
  } catch {
    return ''
  }
}
