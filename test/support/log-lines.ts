import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { SpawnedNode } from './spawned-node.ts'

/** A line of `hsu logs -o json`. */
export interface LogRow {
  readonly time: string
  readonly node: string
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly pid: number | null
  readonly stream: string
  readonly seq: number
  readonly level: string | null
  readonly message: string | null
  readonly line: string
}

/** What `hsu logs -o json` prints. */
export async function logRows(node: SpawnedNode, ...args: string[]): Promise<LogRow[]> {
  return rowsOf((await printed(node, ['-o', 'json', ...args])).toString())
}

/** The lines that `hsu logs` prints, without their prefixes; as latin1, which has a character for every byte. */
export async function shownLines(node: SpawnedNode, ...args: string[]): Promise<string[]> {
  const lines = (await printed(node, args)).toString('latin1').slice(0, -1).split('\n')
  const prefix = /^\S+ [|!] /.exec(lines[0] ?? '')?.[0] ?? ''
  return lines.map((line) => line.slice(prefix.length))
}

/** Through a file: it may be much. */
async function printed(node: SpawnedNode, args: readonly string[]): Promise<Buffer> {
  const file = join(node.directory, 'printed')
  const fd = openSync(file, 'w')
  const [code] = (await once(node.spawn(['logs', ...args], ['ignore', fd, fd]), 'exit')) as [number | null]
  closeSync(fd)
  const content = readFileSync(file)
  if (code !== 0)
    throw new Error(`hsu logs ${args.join(' ')} ended with ${code}: ${content.subarray(-1_000).toString()}`)
  return content
}

export async function logTexts(node: SpawnedNode, ...args: string[]): Promise<string[]> {
  return (await logRows(node, ...args)).map(({ line }) => line)
}

/** `hsu logs -f -o json` in a process of its own. */
export class LogFollower {
  readonly #process: ChildProcess
  readonly #file: string

  constructor(node: SpawnedNode, ...args: string[]) {
    this.#file = join(node.directory, `follower-${args.join('-').replaceAll(/\W/g, '-')}`)
    const fd = openSync(this.#file, 'w')
    this.#process = node.spawn(['logs', '-f', '-o', 'json', ...args], ['ignore', fd, fd])
    closeSync(fd)
  }

  get rows(): LogRow[] {
    return rowsOf(readFileSync(this.#file, 'utf8'))
  }

  get texts(): string[] {
    return this.rows.map(({ line }) => line)
  }

  /** What it said that is no line of a log. */
  get notes(): string[] {
    return readFileSync(this.#file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('{'))
  }

  stop(): void {
    this.#process.kill('SIGINT')
  }
}

/** Complete lines alone: the last may just be being written. */
function rowsOf(text: string): LogRow[] {
  const complete = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return complete.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogRow)
}
