import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { repoRoot } from '../../test/support/paths.ts'
import { until } from '../nodes.ts'

/** The proxy has one core for itself, the load and the unit share the other. */
export const LOAD_CORE = 0
export const PROXY_CORE = 1

/** The programs of the bench, compiled. */
export interface LoadPrograms {
  readonly load: string
  readonly echo: string
}

/** Compiles generator and unit. @throws Error why that is not possible here */
export function compileLoad(home: string): LoadPrograms {
  const directory = join(home, 'load')
  mkdirSync(directory, { recursive: true })
  const compile = (name: string): string => {
    const program = join(directory, name)
    const source = join(repoRoot, 'bench/load', `${name}.c`)
    const { status, error, stderr } = spawnSync('cc', ['-O2', '-o', program, source, '-lm'], { encoding: 'utf8' })
    if (error !== undefined) throw new Error('there is no C compiler (cc) for the load generator')
    if (status !== 0) throw new Error(`cc fails: ${stderr}`)
    return program
  }
  return { load: compile('load'), echo: compile('echo') }
}

/** True when a program is there. */
export function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** A program on a core of its own, once it listens. */
export async function startOn(
  core: number,
  command: readonly string[],
  port: number,
  cwd: string,
): Promise<ChildProcess> {
  const child = spawn('taskset', ['-c', String(core), ...command], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  await until(() => accepts(port), 10_000)
  return child
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const end = (accepted: boolean): void => {
      socket.destroy()
      resolve(accepted)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}

/** What one run of the generator saw. */
export interface LoadReading {
  readonly perSecond: number
  readonly calls: number
  readonly failed: number
  readonly p50Us: number
  readonly p99Us: number
  readonly mbPerS: number
}

/** Calls `port` for so long: connections x streams at once, messages of so many bytes. */
export async function runLoad(
  { load }: LoadPrograms,
  port: number,
  { connections, streams, bytes }: CallCase,
  seconds: number,
): Promise<LoadReading> {
  const args = [port, connections, streams, bytes, seconds].map(String)
  const child = spawn('taskset', ['-c', String(LOAD_CORE), load, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await once(child, 'close')
  const { rps, done, bad, p50, p99, mbps } = JSON.parse(text) as Record<
    'rps' | 'done' | 'bad' | 'p50' | 'p99' | 'mbps',
    number
  >
  return { perSecond: rps, calls: done, failed: bad, p50Us: p50, p99Us: p99, mbPerS: mbps }
}

/** How calls are made. */
export interface CallCase {
  readonly connections: number
  readonly streams: number
  readonly bytes: number
}

/** `1x50x100B`, `1x4x1MB`. */
export function nameOf({ connections, streams, bytes }: CallCase): string {
  const size = bytes >= 1_000_000 ? `${bytes / 1_000_000}MB` : bytes >= 1_000 ? `${bytes / 1_000}kB` : `${bytes}B`
  return `${connections}x${streams}x${size}`
}

/** Processor time that a process and, unless told otherwise, its children have used, in us, exact (schedstat). */
export function cpuUs(pid: number, withChildren = true): number {
  let nanoseconds = 0
  for (const thread of childrenOrNone(`/proc/${pid}/task`)) {
    nanoseconds += Number(readOrNone(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] ?? 0)
    if (!withChildren) continue
    for (const child of readOrNone(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean)) {
      nanoseconds += cpuUs(Number(child)) * 1_000
    }
  }
  return nanoseconds / 1_000
}

function childrenOrNone(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function readOrNone(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
