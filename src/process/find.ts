import { readFile, stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { HsuError, systemCode } from '../base/error.ts'
import { toRfc3339 } from '../base/system-date.ts'
import type { FindConfig } from './config.ts'
import { isInService, type MainPidOf } from './find-service.ts'
import type { ProcessIdentity } from './identity.ts'
import { identityOf, isAlive, type ProcessInfo, type ProcessTable } from './process-table.ts'

/** A process that fits a description as well as others do. */
export interface Candidate {
  readonly pid: number
  readonly argv: readonly string[]
  /** Wall clock; undefined where the system does not tell. */
  readonly startedAtMs: number | undefined
}

/** How a process is looked for; also the key of the configuration. */
export type FindMethod = 'pid' | 'pid_file' | 'name' | 'port' | 'service'

/** The outcome of a search for an unmanaged unit. */
export type Sighting =
  | { readonly kind: 'found'; readonly identity: ProcessIdentity }
  | { readonly kind: 'absent'; readonly reason: string }
  | { readonly kind: 'ambiguous'; readonly candidates: readonly Candidate[] }

export interface FindSeams {
  readonly table: ProcessTable
  /** Our own process, which no description may catch by chance. */
  readonly selfPid: number
  /** Others that are not meant, such as the command that asks. */
  readonly notPids?: readonly number[]
  /** Asks systemd for the main process of a service; absent = only control groups are looked at. */
  readonly mainPidOf?: MainPidOf
  /** What a relative `pid_file` is relative to. */
  readonly baseDir: string
}

/**
 * The start of a process is known to a second on Linux (`btime`) and elsewhere (`ps`), and a process may
 * write its pid file within the same second.
 */
const START_TOLERANCE_MS = 2_000
/** The init process; it holds the sockets of socket-activated services too. */
const INIT_PID = 1

/**
 * Looks once for the process that `find` describes. Of a tree in which several match it is the root.
 *
 * @throws HsuError `UNSUPPORTED` for `port` where the system does not tell who listens
 */
export async function findProcess(find: FindConfig, seams: FindSeams): Promise<Sighting> {
  if (find.pid !== undefined) return findByPid(find.pid, seams)
  if (find.pid_file !== undefined) return findByPidFile(resolve(seams.baseDir, find.pid_file), seams)
  if (find.name !== undefined) return findByName(find.name, find.args ?? [], seams)
  if (find.port !== undefined) return findByPort(find.port, seams)
  return findByService(find.service ?? '', seams)
}

/** Which way `find` goes. */
export function methodOf(find: FindConfig): FindMethod {
  const methods = ['pid', 'pid_file', 'name', 'port', 'service'] as const
  return methods.find((method) => find[method] !== undefined) ?? 'name'
}

/** The answer of a look that found no process, or too many, as the error it is for whoever asked for one. */
export function notFound(find: FindConfig, sighting: Exclude<Sighting, { readonly kind: 'found' }>): HsuError {
  const method = methodOf(find)
  if (sighting.kind === 'absent') {
    const details = { method, sought: String(find[method]) }
    return new HsuError('PROCESS_NOT_FOUND', `no process found by ${method}: ${sighting.reason}`, { details })
  }
  const pids = sighting.candidates.map(({ pid }) => pid).join(' ')
  return new HsuError('PROCESS_AMBIGUOUS', describeCandidates(sighting.candidates), { details: { method, pids } })
}

/** More than these are not named in a message. */
const NAMED_CANDIDATES = 10
const NAMED_ARGS_CHARS = 80

/** `2 processes match: pid 10, started 2025-01-31T12:00:00.000Z: sshd -D; ...`, and what to do about it. */
export function describeCandidates(candidates: readonly Candidate[]): string {
  const named = candidates.slice(0, NAMED_CANDIDATES).map(({ pid, argv, startedAtMs }) => {
    const started = startedAtMs === undefined ? '' : `, started ${toRfc3339(startedAtMs)}`
    const command = argv.join(' ')
    const shown = command.length > NAMED_ARGS_CHARS ? `${command.slice(0, NAMED_ARGS_CHARS)}...` : command
    return `pid ${pid}${started}: ${shown}`
  })
  const more = candidates.length - named.length
  const rest = more > 0 ? `; and ${more} more` : ''
  return `${candidates.length} processes match: ${named.join('; ')}${rest}; add args, or use pid_file or port`
}

async function findByPid(pid: number, seams: FindSeams): Promise<Sighting> {
  const info = await seams.table.get(pid)
  if (info === undefined || !isAlive(info)) return absent(`no process has pid ${pid}`)
  return oneOf([info], `no process has pid ${pid}`, seams)
}

/** A file older than the process it names is left from an earlier process, whose pid was given to a stranger. */
async function findByPidFile(path: string, seams: FindSeams): Promise<Sighting> {
  const file = await readPidFile(path)
  if ('fault' in file) return absent(file.fault)
  const info = await seams.table.get(file.pid)
  if (info === undefined || !isAlive(info)) return absent(`${path} names pid ${file.pid}, which is gone`)
  const { startedAtMs } = info
  if (startedAtMs !== undefined && startedAtMs > file.writtenAtMs + START_TOLERANCE_MS) {
    return absent(`${path} is stale: pid ${file.pid} belongs to a process started after the file was written`)
  }
  return oneOf([info], '', seams)
}

async function readPidFile(path: string): Promise<{ pid: number; writtenAtMs: number } | { fault: string }> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    // Some programs write more lines after the pid (PostgreSQL).
    const pid = /^\s*(\d{1,10})\s*(\n|$)/.exec(text)?.[1]
    return pid === undefined ? { fault: `${path} holds no pid` } : { pid: Number(pid), writtenAtMs: mtimeMs }
  } catch (error) {
    return { fault: `cannot read pid file ${path}: ${systemCode(error) ?? String(error)}` }
  }
}

async function findByName(name: string, args: readonly string[], seams: FindSeams): Promise<Sighting> {
  const list = await seams.table.list()
  const notMeant = new Set([seams.selfPid, ...(seams.notPids ?? [])])
  const matches = list.filter(
    (info) => !notMeant.has(info.pid) && isAlive(info) && isNamed(info, name) && hasArgs(info, args),
  )
  const description = args.length === 0 ? `'${name}'` : `'${name}' with arguments ${args.join(' ')}`
  return oneOf(rootsOf(matches, list), `no process is named ${description}`, seams)
}

/** By the name the system keeps (cut when long), by the program's file, and by the first argument, which programs may rewrite. */
function isNamed({ name: kept, argv, executable }: ProcessInfo, name: string): boolean {
  return kept === name || basename(argv[0] ?? '') === name || basename(executable ?? '') === name
}

/** A program that rewrites its title (nginx, PostgreSQL) has it as one argument; then its words are looked at. */
function hasArgs({ argv }: ProcessInfo, args: readonly string[]): boolean {
  const words = argv.length === 1 ? (argv[0] ?? '').split(/\s+/) : argv
  const own = new Set(words.slice(1))
  return args.every((arg) => own.has(arg))
}

/** Those of `matches` that have no other match among their ancestors: a master, not its workers. */
function rootsOf(matches: readonly ProcessInfo[], list: readonly ProcessInfo[]): ProcessInfo[] {
  const byPid = new Map(list.map((info) => [info.pid, info]))
  const matching = new Set(matches.map(({ pid }) => pid))
  return matches.filter((info) => {
    const seen = new Set([info.pid])
    let ancestor = byPid.get(info.ppid)
    while (ancestor !== undefined && !seen.has(ancestor.pid)) {
      if (matching.has(ancestor.pid)) return false
      seen.add(ancestor.pid)
      ancestor = byPid.get(ancestor.ppid)
    }
    return true
  })
}

async function findByPort(port: string, seams: FindSeams): Promise<Sighting> {
  const [protocol, number] = port.split('/') as ['tcp' | 'udp', string]
  const listeners = (await seams.table.listeners({ protocol, port: Number(number) })).filter(
    (listener) => listener.protocol === protocol && listener.port === Number(number),
  )
  if (listeners.length === 0) return absent(`nothing listens on ${port}`)
  const owners = new Set(listeners.flatMap(({ pids }) => pids))
  if (owners.size > 1) owners.delete(INIT_PID)
  if (owners.size === 0)
    return absent(`a process that we may not look into listens on ${port}; run the node as its user or as root`)
  const list = await seams.table.list()
  const matches = list.filter((info) => owners.has(info.pid) && isAlive(info))
  return oneOf(rootsOf(matches, list), `what listened on ${port} is gone`, seams)
}

/**
 * The main process as systemd knows it. Where systemd does not answer, or knows of none, those in the control group of
 * the service: that is how systemd keeps them together, and /proc tells of it also from within a container.
 */
async function findByService(given: string, seams: FindSeams): Promise<Sighting> {
  const service = /\.[a-z]+$/.test(given) ? given : `${given}.service`
  const mainPid = await seams.mainPidOf?.(service)
  const main = mainPid === undefined ? undefined : await seams.table.get(mainPid)
  if (main !== undefined && isAlive(main)) return oneOf([main], '', seams)
  const list = await seams.table.list()
  const members = list.filter((info) => isAlive(info) && isInService(info.cgroup, service))
  return oneOf(rootsOf(members, list), `the service ${service} has no process on this host`, seams)
}

async function oneOf(roots: readonly ProcessInfo[], reason: string, { table }: FindSeams): Promise<Sighting> {
  const [only, ...others] = roots
  if (only === undefined) return absent(reason)
  if (others.length > 0) {
    return { kind: 'ambiguous', candidates: roots.map(({ pid, argv, startedAtMs }) => ({ pid, argv, startedAtMs })) }
  }
  return { kind: 'found', identity: identityOf(only, await table.bootId()) }
}

function absent(reason: string): Sighting {
  return { kind: 'absent', reason }
}
