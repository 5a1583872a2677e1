import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Programs that do nothing but note when they began to run: the same for whoever supervises them. */
export interface TrivialUnits {
  /** Where their files are. */
  readonly directory: string
  readonly names: readonly string[]
  /** What each of them runs. */
  readonly argvOf: (name: string) => readonly string[]
  /** The latest start of one. */
  readonly lastStart: (name: string) => Start | undefined
  /** Ends those that are left, whoever ran them. */
  readonly endAll: () => void
}

export interface Start {
  readonly pid: number
  /** Wall clock. */
  readonly atMs: number
}

/** Bash knows the time without starting another program, and becomes the sleeper. */
const SCRIPT = 'echo "$$ $EPOCHREALTIME" >> "$1"\nexec sleep 1000000\n'
const SLEEPER = 'sleep\x001000000'

export function makeTrivialUnits(directory: string, count: number): TrivialUnits {
  mkdirSync(directory, { recursive: true })
  const script = join(directory, 'unit.sh')
  writeFileSync(script, SCRIPT)
  const names = Array.from({ length: count }, (_, index) => `unit-${index}`)
  const fileOf = (name: string): string => join(directory, `${name}.starts`)
  for (const name of names) writeFileSync(fileOf(name), '')
  const lastStart = (name: string): Start | undefined => parseStart(readFileSync(fileOf(name), 'utf8'))
  return {
    directory,
    names,
    argvOf: (name) => ['bash', script, fileOf(name)],
    lastStart,
    endAll: () => names.forEach((name) => endSleeper(lastStart(name)?.pid)),
  }
}

function parseStart(text: string): Start | undefined {
  // A line that is still being written has no end yet.
  const match = /^(\d+) (\d+)[.,](\d{6})$/.exec(text.split('\n').at(-2) ?? '')
  if (match === null) return undefined
  return { pid: Number(match[1]), atMs: Number(match[2]) * 1_000 + Number(match[3]) / 1_000 }
}

/** The pid is ours to kill while it still runs our sleeper. */
function endSleeper(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(SLEEPER)) process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended, which is what we want.
  }
}

export function wallMs(): number {
  return performance.timeOrigin + performance.now()
}
