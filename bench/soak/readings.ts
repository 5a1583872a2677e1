import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { rssMb } from '../nodes.ts'

/** What a process holds at one moment. */
export interface Reading {
  readonly rssMb: number
  /** Of all its threads that run JavaScript. */
  readonly heapMb: number
  readonly externalMb: number
  readonly files: number
  readonly sockets: number
}

/** How often the threads of a node write down what they hold. */
const PROBE_MS = 5_000

/**
 * A directory with a `node` that has each of its threads write down its memory, for the front of PATH: only a thread itself can tell what
 * its heap holds.
 */
export function probedNode(directory: string): { readonly path: string; readonly notes: string } {
  const notes = join(directory, 'notes')
  mkdirSync(notes, { recursive: true })
  const probe = join(directory, 'probe.cjs')
  writeFileSync(
    probe,
    `const { threadId } = require('node:worker_threads')
const note = () => require('node:fs').writeFileSync(${JSON.stringify(notes)} + '/' + process.pid + '-' + threadId, JSON.stringify(process.memoryUsage()))
setInterval(note, ${PROBE_MS}).unref()
`,
  )
  const program = join(directory, 'node')
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' -r '${probe}' "$@"\n`)
  chmodSync(program, 0o755)
  return { path: `${directory}${delimiter}${process.env['PATH'] ?? ''}`, notes }
}

/** What a node holds whose threads write into `notes`. */
export function readingOf(pid: number, notes: string): Reading {
  const threads = readdirSync(notes)
    .filter((name) => name.startsWith(`${pid}-`))
    .map((name) => memoryIn(join(notes, name)))
  const files = readdirSync(`/proc/${pid}/fd`)
  return {
    rssMb: rssMb(pid),
    heapMb: threads.reduce((sum, { heapUsed }) => sum + heapUsed / 1e6, 0),
    externalMb: threads.reduce((sum, { external }) => sum + external / 1e6, 0),
    files: files.length,
    sockets: files.filter((file) => linkOf(`/proc/${pid}/fd/${file}`).startsWith('socket:')).length,
  }
}

function memoryIn(file: string): Pick<NodeJS.MemoryUsage, 'heapUsed' | 'external'> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as NodeJS.MemoryUsage
  } catch {
    // It is being written.
    return { heapUsed: 0, external: 0 }
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
