import { spawn, spawnSync } from 'node:child_process'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SpawnedNode } from '../test/support/spawned-node.ts'
import { missing, PM2, PROCESS_COMPOSE, type Peer, SUPERVISOR } from './peers.ts'
import type { TrivialUnits } from './trivial-units.ts'

/** Units and the place of their files. */
export type Units = Pick<TrivialUnits, 'directory' | 'names' | 'argvOf'>

/** A supervisor that can run the same programs as the others. */
export interface Contender {
  readonly name: string
  readonly peer?: Peer
  /** A supervisor that waits a second or more before each restart is crashed less often. */
  readonly isSlow?: boolean
  /** Begins to run it, with the units under it. */
  readonly start: (units: Units) => Supervising
  /** Where the logs of a unit that is called `flood` are. Undefined for one that keeps none unless it is told to. */
  readonly logsIn?: (directory: string) => string
}

export interface Supervising {
  /** The process that supervises. */
  pid(): number
  stop(): Promise<void>
}

/** After this a supervisor that does not end by itself is killed. */
const STOP_TIMEOUT_MS = 60_000

export const hsu: Contender = {
  name: 'HSU',
  logsIn: (directory) => join(directory, 'node', 'log', 'units', 'flood'),
  start({ directory, names, argvOf }) {
    const restart = { policy: 'always', backoff: '0ms..0ms', jitter: '0%', give_up: '100000/1m' }
    const units = Object.fromEntries(names.map((name) => [name, { run: argvOf(name), restart }]))
    const config = { version: 1, node: { name: 'bench', listen: { ingress: '127.0.0.1:0' } }, units }
    const node = new SpawnedNode(join(directory, 'node'), { config })
    node.launch()
    return {
      pid: () => node.pid,
      async stop() {
        node.signal('SIGTERM')
        await node.ended()
      },
    }
  },
}

const supervisord: Contender = {
  name: 'supervisord',
  peer: SUPERVISOR,
  logsIn: (directory) => directory,
  start({ directory, names, argvOf }) {
    const files = `logfile=${join(directory, 'supervisord.log')}\npidfile=${join(directory, 'pid')}\nchildlogdir=${directory}`
    const programs = names.map((name) =>
      [
        `[program:${name}]`,
        `command=${argvOf(name).map(quoted).join(' ').replaceAll('%', '%%')}`,
        'autorestart=true',
        'startsecs=0',
        'startretries=100000',
      ].join('\n'),
    )
    const file = join(directory, 'supervisord.conf')
    // More than 200 programs with two pipes each need more than the 1,024 files that it asks for by default.
    writeFileSync(file, [`[supervisord]\nnodaemon=true\nminfds=4096\n${files}`, ...programs].join('\n'))
    return foreground([SUPERVISOR.program, '-n', '-c', file], directory)
  },
}

/** The daemon that `pm2 start` leaves behind, as its users have it. */
const pm2: Contender = {
  name: 'PM2',
  peer: PM2,
  logsIn: (directory) => join(directory, 'pm2', 'logs'),
  start({ directory, names, argvOf }) {
    const apps = names.map((name) => {
      const [script, ...args] = argvOf(name)
      const limits = { autorestart: true, max_restarts: 100_000, min_uptime: 0 }
      // Without a look at git and without a tracer in the program.
      return { name, script, args, interpreter: 'none', vizion: false, pmx: false, ...limits }
    })
    const file = join(directory, 'ecosystem.config.json')
    writeFileSync(file, JSON.stringify({ apps }))
    const home = join(directory, 'pm2')
    const env = { PM2_HOME: home }
    const starting = foreground([PM2.program, 'start', file], directory, env)
    return {
      pid: () => Number(readFileSync(join(home, 'pm2.pid'), 'utf8')),
      async stop() {
        await starting.stop()
        spawnSync(PM2.program, ['kill'], { env: { ...process.env, ...env }, timeout: STOP_TIMEOUT_MS })
      },
    }
  },
}

const processCompose: Contender = {
  name: 'process-compose',
  peer: PROCESS_COMPOSE,
  isSlow: true,
  start({ directory, names, argvOf }) {
    // A second is the shortest backoff it has.
    const availability = { restart: 'always', backoff_seconds: 1, max_restarts: 0 }
    const processes = Object.fromEntries(
      names.map((name) => [name, { command: `exec ${argvOf(name).map(quoted).join(' ')}`, availability }]),
    )
    const file = join(directory, 'process-compose.yaml')
    writeFileSync(file, JSON.stringify({ version: '0.5', processes }))
    const log = join(directory, 'process-compose.log')
    return foreground([PROCESS_COMPOSE.program, '-f', file, '-t=false', '--no-server', '-L', log, 'up'], directory)
  },
}

/** HSU and those of its peers that can be had here; of the others it says why not. */
export function contenders(): readonly Contender[] {
  return [hsu, supervisord, pm2, processCompose].filter(({ peer }) => {
    const fault = peer && missing(peer)
    if (fault !== undefined) process.stderr.write(`bench: without ${peer?.name ?? ''}: ${fault}\n`)
    return fault === undefined
  })
}

/** Runs a supervisor as our child; its end is asked for politely, and forced when it does not come. */
function foreground([program = '', ...args]: readonly string[], cwd: string, env = {}): Supervising {
  const output = openSync(join(cwd, 'output'), 'a')
  const child = spawn(program, args, { cwd, stdio: ['ignore', output, output], env: { ...process.env, ...env } })
  const ended = new Promise((resolve) => child.once('close', resolve))
  return {
    pid: () => child.pid ?? 0,
    async stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      await ended
      clearTimeout(timer)
    },
  }
}

/** For a shell, and for supervisord, which splits words as one does. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
