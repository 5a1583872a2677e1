import { type ChildProcess, execFile, spawn, type StdioOptions } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { removeCells } from './cells.ts'
import { repoRoot } from './paths.ts'
import { until } from './until.ts'

// The test runner puts hooks into NODE_OPTIONS of every child; a node is to run as users run it.
const HSU = ['env', '-u', 'NODE_OPTIONS', join(repoRoot, 'bin', 'hsu')]
const COMMAND_TIMEOUT_MS = 60_000

/** How a command ended. */
export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface SpawnedNodeOptions {
  /** The configuration, as an object; JSON is YAML. */
  readonly config: object
  /** Put in front of every command: `ip netns exec NAME`. */
  readonly prefix?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** A real node in a process of its own, with a data directory of its own, run through bin/hsu as a user would. */
export class SpawnedNode {
  readonly directory: string
  readonly configFile: string
  readonly #prefix: readonly string[]
  readonly #env: NodeJS.ProcessEnv
  #process: ChildProcess | undefined

  constructor(directory: string, { config, prefix = [], env = {} }: SpawnedNodeOptions) {
    this.directory = directory
    this.configFile = join(directory, 'hsu.yaml')
    this.#prefix = prefix
    this.#env = { ...process.env, HSU_DATA_DIR: directory, HSU_CONTROL: '', NO_COLOR: '1', ...env }
    mkdirSync(directory, { recursive: true })
    this.configure(config)
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error('the node was not started')
    return pid
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
  }

  get log(): string {
    return readFileSync(join(this.directory, 'test-node.log'), { encoding: 'utf8', flag: 'a+' })
  }

  configure(config: object): void {
    writeFileSync(this.configFile, JSON.stringify(config))
  }

  /** Starts it, with its own configuration unless `-f` is among `args`, and waits until its control API answers. */
  async start(...args: string[]): Promise<void> {
    this.launch(...args)
    await this.#untilAnswers()
  }

  /** Starts it with pipes as its output whose readers are gone, and waits until it answers. */
  async startUnheard(): Promise<void> {
    const command = [...this.#prefix, ...HSU, 'up', '-f', this.configFile]
    const [file = '', ...rest] = command
    const child = spawn(file, rest, { env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    child.stdout.destroy()
    child.stderr.destroy()
    await this.#untilAnswers()
  }

  async #untilAnswers(): Promise<void> {
    await until('the node to answer', async () => {
      if (!this.running) throw new Error(`the node ended while starting:\n${this.log}`)
      return (await this.hsu('ps', '-o', 'json')).code === 0
    })
  }

  /** Starts it and waits for nothing. */
  launch(...args: string[]): void {
    const log = openSync(join(this.directory, 'test-node.log'), 'a')
    const files = args.includes('-f') ? [] : ['-f', this.configFile]
    const [file = '', ...rest] = [...this.#prefix, ...HSU, 'up', ...files, ...args]
    this.#process = spawn(file, rest, { env: this.#env, stdio: ['ignore', log, log] })
    closeSync(log)
  }

  /** Runs a command beside the test; at the end of the test it is ended with the rest. */
  spawn(args: readonly string[], stdio: StdioOptions): ChildProcess {
    const [file = '', ...rest] = [...this.#prefix, ...HSU, ...args]
    return spawn(file, rest, { env: this.#env, stdio, cwd: this.directory })
  }

  hsu(...args: string[]): Promise<Ran> {
    const [file = '', ...rest] = [...this.#prefix, ...HSU, ...args]
    const options = { env: this.#env, timeout: COMMAND_TIMEOUT_MS, maxBuffer: 64e6, cwd: this.directory }
    return new Promise((resolve) => {
      execFile(file, rest, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, stdout, stderr })
      })
    })
  }

  /** What a read command prints with `-o json`. */
  async json<T>(...args: string[]): Promise<T[]> {
    const { code, stdout, stderr } = await this.hsu(...args, '-o', 'json')
    if (code !== 0) throw new Error(`hsu ${args.join(' ')} ended with ${code}: ${stderr}`)
    return JSON.parse(stdout) as T[]
  }

  /** Runs a command that goes on, such as `events -f`: gives the lines it has printed so far. It ends with the home. */
  follow(...args: string[]): () => readonly string[] {
    const [file = '', ...rest] = [...this.#prefix, ...HSU, ...args]
    const child = spawn(file, rest, { env: this.#env, stdio: ['ignore', 'pipe', 'ignore'], cwd: this.directory })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
    return () => text.split('\n').slice(0, -1)
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal)
  }

  /** Resolves with the exit code, or the signal, of the node. */
  async ended(): Promise<number | NodeJS.Signals> {
    return until('the node to end', () => {
      const { exitCode, signalCode } = this.#process ?? {}
      return exitCode ?? signalCode ?? undefined
    })
  }

  /** Ends it by force, as a crash does; its units live on. */
  async kill(): Promise<void> {
    if (!this.running) return
    this.signal('SIGKILL')
    await this.ended()
  }
}

/** A temporary home for the nodes of one test. At the end everything that was started in it is killed and it is removed. */
export function nodeHome(t: Test): {
  readonly home: string
  node: (name: string, options: SpawnedNodeOptions) => SpawnedNode
} {
  const home = mkdtempSync(join(tmpdir(), 'hsu-test-'))
  const nodes: SpawnedNode[] = []
  t.teardown(async () => {
    if (!t.passing()) for (const node of nodes) t.comment(`${node.directory}:\n${node.log.slice(-6_000)}`)
    for (const node of nodes) await node.kill()
    for (const pid of processesOf(home)) killHard(pid)
    await until('no process of the test to be left', () => processesOf(home).length === 0)
    await removeCells(home)
    rmSync(home, { recursive: true, force: true })
  })
  return {
    home,
    node(name, options) {
      const node = new SpawnedNode(join(home, name), options)
      nodes.push(node)
      return node
    },
  }
}

/** Pids whose environment names `home`; empty where there is no /proc. */
export function processesOf(home: string): number[] {
  return pids().filter((pid) => pid !== process.pid && environmentOf(pid).includes(home))
}

function pids(): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0)
  } catch {
    return []
  }
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in the meantime.
  }
}
