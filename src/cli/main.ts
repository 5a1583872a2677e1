import { closeSync, openSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { isatty } from 'node:tty'
import { HsuError } from '../base/error.ts'
import { systemClock } from '../base/system-clock.ts'
import { COMMANDS } from './commands.ts'
import { startDetached } from './detach.ts'
import { lastLines } from './log-file.ts'
import { sinkOf } from './sink.ts'
import type { Processes } from './processes.ts'
import { reflectingFrom } from './method-caller.ts'
import { runCommandLine, type World } from './run.ts'
import { takeSignals } from './signals.ts'
import { findLifeline, findPredecessor } from './succession-channel.ts'
import { terminalOf } from './terminal.ts'

/** The command line: `process` as the world, and nothing decided here. What is slow to load is loaded when it is used. */
const stop = new AbortController()
const force = new AbortController()

/** The first ^C asks for an orderly end, the second for a quick one, the third does not ask. */
function interrupt(): void {
  if (force.signal.aborted) process.exit(130)
  if (stop.signal.aborted) force.abort(new HsuError('CANCELLED', 'interrupted twice'))
  hangUp()
}

/** Nobody is left who could ask twice. */
function hangUp(): void {
  stop.abort(new HsuError('CANCELLED', 'interrupted'))
}

// Both read variables that are not for children.
const lifeline = findLifeline(process.env)
const predecessor = findPredecessor(process.env, process, tellManager)

async function tellManager(): Promise<void> {
  const { tellSystemd } = await import('./detach-notify.ts')
  const fault = await tellSystemd(process.env, process.pid)
  if (fault !== undefined) process.stderr.write(`hsu: systemd does not know of the new process: ${fault}\n`)
}

const requests = takeSignals({
  // The parent that follows passes on what it gets; a terminal tells ^C to both of us, and twice means by force.
  on: (signal, take) => void process.on(signal, lifeline !== undefined && signal === 'SIGINT' ? () => undefined : take),
  interrupt,
  hangUp,
  hasTerminal: isatty(0) || isatty(1) || isatty(2),
  isTerminalThere,
})

/** False once the terminal of this session was closed. */
function isTerminalThere(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

const processes: Processes = {
  ownPid: process.pid,
  isAlive,
  lastLines,
  detach: (args, logFile) => startDetached(process.argv[1] ?? '', args, logFile),
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
  return !isZombie(pid)
}

/** Linux only: a process that has ended and whose parent has not looked yet. Elsewhere false. */
function isZombie(pid: number): boolean {
  try {
    // pid (name) state ...; the name may hold anything, also a parenthesis.
    return /^.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Who runs this process, by the system's account of users; a container may have none for a number. */
function userName(): string {
  const uid = process.getuid?.()
  try {
    const { username } = userInfo()
    return uid === undefined ? username : `${username} (uid ${uid})`
  } catch {
    return `uid ${uid ?? '?'}`
  }
}

const stdout = sinkOf(process.stdout)

const world: World = {
  stdout,
  stderr: (text) => void process.stderr.write(text),
  // Opened when it is read: many commands run without one.
  stdin: { [Symbol.asyncIterator]: () => process.stdin[Symbol.asyncIterator]() },
  env: process.env,
  cwd: process.cwd(),
  isTty: process.stdout.isTTY,
  isErrorTty: process.stderr.isTTY,
  terminal: () => terminalOf(process.stdin, process.stdout, stdout),
  clock: systemClock,
  actor: `${userName()} from the command line`,
  signal: stop.signal,
  force: force.signal,
  requests,
  processes,
  async loadLocal() {
    const { localNode } = await import('./node-adapter.ts')
    return localNode(process.env, process.cwd(), { predecessor, lifeline })
  },
  async connectControl(socketPath) {
    const { ControlService, connect } = await import('../rpc/index.ts')
    const connection = connect(`unix:${socketPath}`)
    return { client: connection.client(ControlService), close: () => connection.close() }
  },
  async dial(address, descriptors) {
    const { connect, createDynamicCaller } = await import('../rpc/index.ts')
    const connection = connect(address)
    return {
      close: () => connection.close(),
      call(method, json, options, describedBy) {
        const through = describedBy === undefined ? connection : reflectingFrom(connection, describedBy)
        return createDynamicCaller(through, descriptors === undefined ? {} : { descriptors }).call(
          method,
          json,
          options,
        )
      },
    }
  },
}

// A broken pipe of stderr must not end the program before it has cleaned up.
process.stderr.on('error', () => undefined)
const exitCode = await runCommandLine(process.argv.slice(2), COMMANDS, world)
process.exit(lifeline?.ended(exitCode) ?? exitCode)
