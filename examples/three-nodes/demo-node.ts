// One node of the demo: a child process running `hsu up`, and the commands sent to it.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const HSU = join(ROOT, 'bin', 'hsu')
const COMMAND_TIMEOUT_MS = 30_000
const EVENT_TIMEOUT_MS = 20_000

export interface DemoEvent {
  readonly time: string
  readonly unit: string
  readonly type: string
  readonly details: Readonly<Record<string, string>>
}

/** Runs a program to its end and gives what it printed. */
export function run(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const [file = '', ...args] = argv
  const options = { env: { ...process.env, ...env }, timeout: COMMAND_TIMEOUT_MS, maxBuffer: 16e6 }
  return new Promise((resolve, reject) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${argv.join(' ')}: ${stderr.trim() || error.message}`))
    })
  })
}

export class DemoNode {
  readonly name: string
  readonly ingress: number
  readonly logFile: string
  readonly #directory: string
  #process: ChildProcess | undefined
  #follower: ChildProcess | undefined
  readonly #events: DemoEvent[] = []
  readonly #waiting = new Set<() => void>()

  constructor(name: string, directory: string, ingress: number) {
    this.name = name
    this.ingress = ingress
    this.#directory = directory
    this.logFile = join(directory, 'node.log')
  }

  start(): void {
    const log = openSync(this.logFile, 'a')
    const args = ['up', '-f', join(this.#directory, 'hsu.yaml')]
    this.#process = spawn(HSU, args, { env: this.#env(), stdio: ['ignore', log, log] })
  }

  /** As when the power of the host goes, but for its units: they keep running. */
  kill(): void {
    this.#follower?.kill('SIGKILL')
    this.#process?.kill('SIGKILL')
  }

  async down(): Promise<void> {
    const over = new Promise((resolve) => this.#process?.once('exit', resolve))
    await this.hsu('down')
    await over
  }

  hsu(...args: string[]): Promise<string> {
    return run([HSU, ...args], this.#env())
  }

  async json<T>(command: string): Promise<T[]> {
    return JSON.parse(await this.hsu(command, '-o', 'json')) as T[]
  }

  /** Keeps the events of this node from now on. */
  followEvents(): void {
    const child = spawn(HSU, ['events', '-f', '-n', '0', '-o', 'json', '--node', this.name], {
      env: this.#env(),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.#follower = child
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#events.push(JSON.parse(line) as DemoEvent)
      for (const look of [...this.#waiting]) look()
    })
  }

  /** When, in wall-clock ms, the first event after `afterMs` happened that `matches`. */
  eventAfter(afterMs: number, matches: (event: DemoEvent) => boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const event = this.#events.find((event) => Date.parse(event.time) >= afterMs && matches(event))
        if (event === undefined) return
        this.#waiting.delete(look)
        clearTimeout(timer)
        resolve(Date.parse(event.time))
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        const seen = this.#events.slice(-10).map(({ type, unit }) => `${type} ${unit}`)
        reject(new Error(`node ${this.name} did not report the event in time; last: ${seen.join(', ')}`))
      }, EVENT_TIMEOUT_MS)
      this.#waiting.add(look)
      look()
    })
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, HSU_DATA_DIR: this.#directory, HSU_CONTROL: '', NO_COLOR: '1' }
  }
}

/** Processes whose environment names `home`: nodes and units of this demo. Empty where there is no /proc. */
export function leftovers(home: string): number[] {
  const pids = safely(() => readdirSync('/proc').map(Number), []).filter((pid) => pid > 0 && pid !== process.pid)
  return pids.filter((pid) => safely(() => readFileSync(`/proc/${pid}/environ`, 'utf8'), '').includes(home))
}

function safely<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}
