import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../base/error.ts'
import { createTurnstile } from '../base/turnstile.ts'
import { type Account, findAccount, variablesOf } from './accounts.ts'
import { resolveExecutable } from './executable.ts'
import { type Exit, exitOfStatus } from './exit.ts'
import type { Child, Gone, Kin, Left, ProcessHost, SpawnRequest } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import { listInstances, openInstanceFiles, readExit, readPid, watchInstance } from './instance-files.ts'
import type { Cell } from './limits/backend.ts'
import type { HostLimits } from './limits/host-limits.ts'
import { GO, isShimOf, SHELL, SHIM_FD, shimArguments } from './posix-shim.ts'
import { identify, isSame, type ProcessTable } from './process-table.ts'
import { runCommand } from './posix-host-run.ts'

/** How often an instance that is not our own child is looked at, besides the notice of its directory. */
const CHECK_MS = 1_000

/** Starts under way at once. Each forks this process; all of a thousand side by side, and none would be done for long. */
const MAX_STARTS = 32

/** The start time of a process that was gone before it could be read: equal to none. */
const UNSEEN = ''

export interface PosixHostSeams {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly limits: HostLimits
}

/** `ProcessHost` for Linux and macOS. Each program runs under a shim that survives the node; see posix-shim.ts. */
export function posixHost(seams: PosixHostSeams): ProcessHost {
  const { clock, table, limits } = seams
  const starts = createTurnstile(MAX_STARTS)
  return {
    table,
    kernelLimits: limits.kernel,
    environment: () => definedOnly(process.env),
    spawn: (request) => starts.pass(() => spawnInstance(request, seams)),
    adopt: (left) => adoptInstance(left, seams),
    cellOf: limits.find,
    async signal(target, signal) {
      return (await isSame(table, target)) && sent(target.pid, signal)
    },
    async signalGroup(kin, signal) {
      return (await ownsGroup(kin, table)) && sent(-kin.leader.pid, signal)
    },
    instances: listInstances,
    async discard(directory) {
      await limits.close(directory)
      await rm(directory, { recursive: true, force: true })
    },
    run: runCommand(clock),
    freePort,
    async isPortFree(port) {
      // Both: on some systems a listener on all addresses does not keep others from one of them.
      return (await canListen(port, '127.0.0.1')) && (await canListen(port, '0.0.0.0'))
    },
  }
}

async function spawnInstance(request: SpawnRequest, seams: PosixHostSeams): Promise<Child> {
  const { table, limits } = seams
  const { directory, caps = {}, limited = [] } = request
  const account = await accountOf(request)
  const env = { ...(account === undefined ? {} : variablesOf(account)), ...request.env }
  const [program = '', ...args] = request.argv
  const opening = openInstanceFiles(directory, account, request.discardsOutput ?? false)
  try {
    const resolving = resolveExecutable(program, request.cwd, env['PATH'], request.unit)
    const [file, files] = await Promise.all([resolving, opening])
    const cell = await limits.open(directory, caps, limited).catch((cause: unknown) => {
      throw refusal(request, `its limits cannot be set: ${messageOf(cause)}`, cause)
    })
    const shim = spawn(SHELL, shimArguments(directory, [file, ...args], env, cell?.prelude(caps)), {
      cwd: request.cwd,
      env,
      detached: true,
      stdio: ['ignore', files.stdout, files.stderr, files.pid, files.exit, 'pipe'],
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
    })
    const ended = exitOf(shim)
    const mainPid = await started(shim, cell, request)
    const [leader, main] = await Promise.all([seen(table, shim.pid ?? 0), seen(table, mainPid)])
    return ownChild(shim, ended, { leader, main, directory, cell: gathering(cell) }, seams)
  } finally {
    await opening.then(
      (files) => files.close(),
      () => undefined,
    )
  }
}

/** Puts the shim where its limits are, lets it go on when it may, and resolves with the program's pid, which it tells then. */
async function started(shim: ChildProcess, cell: Cell | undefined, request: SpawnRequest): Promise<number> {
  await once(shim, 'spawn').catch((cause: unknown) => {
    throw refusal(request, messageOf(cause), cause)
  })
  const pipe = (shim.stdio as readonly unknown[])[SHIM_FD.node] as Duplex
  let text = ''
  try {
    await Promise.all([cell?.enter(shim.pid ?? 0), request.after])
    pipe.write(GO)
    for await (const chunk of pipe) {
      text += String(chunk)
      if (text.endsWith('\n')) return Number(text)
    }
  } catch (cause) {
    throw refusal(request, messageOf(cause), cause)
  } finally {
    // A shim that was not let go on ends by this.
    pipe.destroy()
  }
  throw refusal(request, `${SHELL} ended before the program was started`)
}

function refusal({ unit, argv }: SpawnRequest, why: string, cause?: unknown): HsuError {
  return new HsuError('SPAWN_FAILED', `cannot run ${argv[0] ?? ''} of unit '${unit}': ${why}`, {
    cause,
    details: { unit },
  })
}

/** One that does not know its processes is of no use once they run. */
function gathering(cell: Cell | undefined): Cell | undefined {
  return cell?.gathers === true ? cell : undefined
}

interface Parts {
  readonly leader: ProcessIdentity
  readonly main: ProcessIdentity
  readonly directory: string
  readonly cell: Cell | undefined
}

function ownChild(
  shim: ChildProcess,
  ended: Promise<Exit | 'shim killed'>,
  parts: Parts,
  { table, clock }: PosixHostSeams,
): Child {
  const letGo = new AbortController()
  const exited = ended.then(async (exit) => {
    if (exit !== 'shim killed') return exit
    // Without its shim nobody sees how the program ends; killed together with it is by far the likeliest.
    const orphaned = await isSame(table, parts.main).catch(() => true)
    const recorded = await watchEnd(parts, table, clock, letGo.signal)
    return recorded ?? (orphaned ? undefined : { signal: 'SIGKILL' })
  })
  return {
    ...parts,
    exited,
    release: () => {
      letGo.abort()
      shim.unref()
    },
  }
}

async function adoptInstance(left: Left, { table, clock, limits }: PosixHostSeams): Promise<Child | Gone> {
  const { directory } = left
  const leader = left.leader ?? (await findShim(directory, table))
  const main = left.main ?? (await findMain(directory, leader, table))
  const none: ProcessIdentity = { pid: 0, startTime: UNSEEN, bootId: await table.bootId() }
  const cell = gathering(await limits.find(directory))
  const parts = { leader: leader ?? none, main: main ?? none, directory, cell }
  const end = await endOf(parts, table)
  if (end !== undefined) return end
  const letGo = new AbortController()
  return { ...parts, exited: watchEnd(parts, table, clock, letGo.signal), release: () => letGo.abort() }
}

/** Resolves when the exit is recorded or no process of the instance is left; after letting go, never. */
function watchEnd(parts: Parts, table: ProcessTable, clock: Clock, letGo: AbortSignal): Promise<Exit | undefined> {
  return new Promise((resolve) => {
    let changed = (): void => undefined
    const unwatch = watchInstance(parts.directory, () => changed())
    const looking = withSignal(letGo, async (signal) => {
      for (;;) {
        const change = new Promise<void>((resolveChange) => {
          changed = resolveChange
        })
        // A look can fail for a reason that passes (no file descriptor left, say); the next one tells.
        const end = await endOf(parts, table).catch(() => undefined)
        if (end !== undefined) {
          resolve(end.exit)
          return
        }
        await withSignal(signal, (inner) => Promise.race([change, clock.sleep(CHECK_MS, inner)]))
      }
    })
    void looking.catch(() => undefined).finally(unwatch)
  })
}

/** Undefined while a process of the instance lives and no exit is recorded. */
async function endOf({ directory, leader, main }: Parts, table: ProcessTable): Promise<Gone | undefined> {
  const exit = await readExit(directory)
  if (exit !== undefined) return { gone: true, exit }
  const left = (await isSame(table, leader)) || (await isSame(table, main))
  return left ? undefined : { gone: true, exit: await readExit(directory) }
}

/** The shim that shows `directory` on its command line; for the case that the node died before it wrote down its pid. */
async function findShim(directory: string, table: ProcessTable): Promise<ProcessIdentity | undefined> {
  const shim = (await table.list()).find(({ argv }) => isShimOf(argv, directory))
  return shim === undefined ? undefined : identify(table, shim.pid)
}

/** The child of the shim that wrote its pid. Without a living shim a bare pid proves nothing. */
async function findMain(
  directory: string,
  leader: ProcessIdentity | undefined,
  table: ProcessTable,
): Promise<ProcessIdentity | undefined> {
  const pid = await readPid(directory)
  if (pid === undefined || leader === undefined || !(await isSame(table, leader))) return undefined
  const main = await table.get(pid)
  return main?.ppid === leader.pid ? identify(table, pid) : undefined
}

/** A group id cannot be reused while a member lives, so a leader or a main process proved to be ours proves the group. */
async function ownsGroup({ leader, main }: Kin, table: ProcessTable): Promise<boolean> {
  if (await isSame(table, leader)) return true
  return (await isSame(table, main)) && (await table.get(main.pid))?.pgid === leader.pid
}

async function seen(table: ProcessTable, pid: number): Promise<ProcessIdentity> {
  return (await identify(table, pid)) ?? { pid, startTime: UNSEEN, bootId: await table.bootId() }
}

function sent(target: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(target, signal)
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false
    const why = `cannot send ${signal} to process ${Math.abs(target)}: ${messageOf(error)}`
    throw new HsuError('NOT_PERMITTED', why, { cause: error })
  }
}

function exitOf(shim: ChildProcess): Promise<Exit | 'shim killed'> {
  return new Promise((resolve) => {
    shim.once('error', () => resolve('shim killed'))
    shim.once('exit', (code) => resolve(code === null ? 'shim killed' : exitOfStatus(code)))
  })
}

async function accountOf({ user, unit }: SpawnRequest): Promise<Account | undefined> {
  if (user === undefined) return undefined
  const account = findAccount(await readFile('/etc/passwd', 'utf8'), user, unit)
  const own = process.getuid?.()
  if (own === account.uid) return undefined
  if (own === 0) return account
  throw new HsuError('SPAWN_FAILED', `cannot run unit '${unit}' as '${user}': only a node that runs as root can`, {
    details: { unit, user },
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new HsuError('INTERNAL', 'the system chose no port')
  return address.port
}

function canListen(port: number, address: string): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, address, () => server.close(() => resolve(true)))
  })
}

function definedOnly(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(entries)
}
