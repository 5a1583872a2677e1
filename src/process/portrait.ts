import { realpath } from 'node:fs/promises'
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import { HsuError } from '../base/error.ts'
import { userNamed } from './accounts.ts'
import type { ProcessIdentity } from './identity.ts'
import { type ListeningPort, portsOf } from './look.ts'
import { isSame, type ProcessInfo, type ProcessTable, treeOf } from './process-table.ts'
import { wellKnown } from './well-known.ts'

const INIT_PID = 1

/** What would have to be written down of a process to start one like it. Undefined = not told, or not to us. */
export interface Portrait {
  readonly identity: ProcessIdentity
  /** The program as an absolute path, and its arguments. */
  readonly argv: readonly string[]
  /** The process changed how its arguments look, so that `argv` is a guess. */
  readonly rewritten: boolean
  /** Its parent is process 1: it was started by that, or went into the background by itself. */
  readonly orphan: boolean
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string>> | undefined
  /** Name, or number when it has none. */
  readonly user: string | undefined
  /** Whether it is the user that this node runs as. */
  readonly ownUser: boolean
  readonly listeners: readonly ListeningPort[]
}

/** Reads from the system what a running process is. @throws HsuError `NOT_STARTED`, `UNSUPPORTED`, `NOT_PERMITTED` */
export async function portray(identity: ProcessIdentity, table: ProcessTable): Promise<Portrait> {
  if (table.dossier === undefined) {
    throw new HsuError('UNSUPPORTED', `this system (${process.platform}) does not tell how a process was started`)
  }
  const { pid } = identity
  const info = (await isSame(table, identity)) ? await table.get(pid) : undefined
  if (info === undefined) throw new HsuError('NOT_STARTED', `process ${pid} is gone`)
  const { cwd, env, uid } = table.dossier(pid)
  if (env === undefined || cwd === undefined) {
    const how = 'run the node as its user or as root'
    throw new HsuError('NOT_PERMITTED', `the environment of process ${pid} is not ours to read; ${how}`, {
      details: { pid },
    })
  }
  const members = new Set(treeOf(pid, await table.list()).map((member) => member.pid))
  const open = await table.listeners().catch(() => [])
  return {
    identity,
    ...(await commandOf(info, cwd, env)),
    orphan: info.ppid === INIT_PID,
    cwd,
    env,
    user: uid === undefined ? undefined : await userNamed(uid),
    ownUser: uid === process.geteuid?.(),
    listeners: portsOf(members, open),
  }
}

/** Programs that write a title over their arguments put it into one word; some keep the old command behind a colon. */
const TITLE_WITH_COMMAND = /^[\w./ -]+: (\/.*)$/

async function commandOf(
  { argv, executable, name }: ProcessInfo,
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<Pick<Portrait, 'argv' | 'rewritten'>> {
  const [first = name, ...rest] = argv
  const program = executable ?? first
  const isTitle = rest.length === 0 && /\s/.test(first) && basename(first) !== basename(program)
  if (!isTitle) return { argv: [await pathOf(first, program, cwd, env), ...rest], rewritten: false }
  // `redis-server *:6379`: at least by which of its names the program was called.
  const [title = ''] = first.split(/[\s:]/)
  const told = wellKnown(title)?.calledAs?.(first) ?? TITLE_WITH_COMMAND.exec(first)?.[1]?.trim().split(/\s+/)
  const [word, ...args] = told ?? [title]
  return { argv: [await pathOf(word ?? title, program, cwd, env), ...args], rewritten: true }
}

/**
 * The path by which the program was called, when it leads to the file that runs: programs with several names (busybox)
 * go by it. Otherwise the file itself.
 */
async function pathOf(
  word: string,
  program: string,
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const searched = [...(env['PATH'] ?? '').split(delimiter).filter(isAbsolute), dirname(program)]
  const directories = word.includes('/') ? [cwd] : searched
  for (const directory of directories) {
    const path = word.includes('/') ? resolve(directory, word) : join(directory, word)
    if ((await realpath(path).catch(() => undefined)) === program) return path
  }
  return program
}
