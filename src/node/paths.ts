import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir } from 'node:fs/promises'
import { join, posix, win32 } from 'node:path'
import { HsuError, messageOf, systemCode } from '../base/error.ts'

/** What the places of a node's files depend on. */
export interface PathInputs {
  /** As `process.platform`. */
  readonly platform: NodeJS.Platform
  /** Undefined where there are no user ids (Windows). */
  readonly uid: number | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  /** The home directory of the user, absolute. */
  readonly home: string
  /** The directory for temporary files; only for a runtime directory whose path would be too long for a socket. */
  readonly tmpDir: string
  /** What relative paths start from. */
  readonly cwd: string
  /** `--data-dir`, else `node.data_dir`; `HSU_DATA_DIR` counts when it is undefined. Moves everything. */
  readonly dataDir: string | undefined
}

/** Where a node keeps its files; all absolute. */
export interface NodePaths {
  /** Identity, keys, remembered peers, state of units: everything that must survive. 0700. */
  readonly dataDir: string
  /** Sockets. 0700, and belongs to the user who runs the node. */
  readonly runtimeDir: string
  /** Output of units. 0750. */
  readonly logDir: string
  /** Below `dataDir`: state of the instances of units, by which the next node adopts them. */
  readonly unitsDir: string
  /** Where a configuration is looked for by a service that runs at boot. */
  readonly configDir: string
}

/** Longest path of a unix socket: `sun_path` less its final zero (Linux unix(7): 108; macOS and BSD sys/un.h: 104). */
const MAX_SOCKET_PATH = { linux: 107, other: 103 } as const

/** Room for the name of a socket and the slash before it; ours are at most `control.sock`, units may get their own. */
const MAX_SOCKET_NAME = 24

type Layout = Omit<NodePaths, 'unitsDir'>

/** The places for these inputs. Pure: asks no file system, so a node and its clients agree without talking. */
export function nodePaths(inputs: PathInputs): NodePaths {
  const standard = standardLayout(inputs)
  const path = inputs.platform === 'win32' ? win32 : posix
  const given = inputs.dataDir ?? nonEmpty(inputs.env['HSU_DATA_DIR'])
  const dataDir = given === undefined ? standard.dataDir : path.resolve(inputs.cwd, given)
  const moved = dataDir !== standard.dataDir
  const layout = moved
    ? { ...standard, dataDir, runtimeDir: path.join(dataDir, 'run'), logDir: path.join(dataDir, 'log') }
    : standard
  return { ...layout, runtimeDir: shortEnough(layout, inputs), unitsDir: path.join(dataDir, 'units') }
}

function standardLayout({ platform, uid, env, home }: PathInputs): Layout {
  if (platform === 'win32') {
    const base = win32.join(nonEmpty(env['LOCALAPPDATA']) ?? win32.join(home, 'AppData', 'Local'), 'hsu')
    return { dataDir: base, runtimeDir: win32.join(base, 'run'), logDir: win32.join(base, 'log'), configDir: base }
  }
  if (uid === 0) {
    return {
      dataDir: '/var/lib/hsu',
      runtimeDir: '/run/hsu',
      logDir: '/var/log/hsu',
      configDir: '/etc/hsu',
      ...mac(platform),
    }
  }
  if (platform === 'darwin') {
    const dataDir = posix.join(home, 'Library/Application Support/hsu')
    return {
      dataDir,
      runtimeDir: posix.join(home, 'Library/Caches/hsu/run'),
      logDir: posix.join(home, 'Library/Logs/hsu'),
      configDir: dataDir,
    }
  }
  return xdgLayout(env, home)
}

/** macOS has no /run. */
function mac(platform: NodeJS.Platform): { runtimeDir?: string } {
  return platform === 'darwin' ? { runtimeDir: '/var/run/hsu' } : {}
}

/** XDG Base Directory Specification 0.8; a relative path in a variable is to be ignored. */
function xdgLayout(env: PathInputs['env'], home: string): Layout {
  const directory = (name: string): string | undefined => {
    const value = nonEmpty(env[name])
    return value !== undefined && posix.isAbsolute(value) ? value : undefined
  }
  const dataDir = posix.join(directory('XDG_STATE_HOME') ?? posix.join(home, '.local/state'), 'hsu')
  const runtimeBase = directory('XDG_RUNTIME_DIR')
  return {
    dataDir,
    runtimeDir: runtimeBase === undefined ? posix.join(dataDir, 'run') : posix.join(runtimeBase, 'hsu'),
    logDir: posix.join(dataDir, 'log'),
    configDir: posix.join(directory('XDG_CONFIG_HOME') ?? posix.join(home, '.config'), 'hsu'),
  }
}

/**
 * A socket below the runtime directory must have a path the kernel takes. Otherwise a short directory stands for it,
 * named by a hash of the data directory; `prepareDirectories` refuses it when it is not ours alone.
 */
function shortEnough({ dataDir, runtimeDir }: Layout, { platform, uid, env, tmpDir }: PathInputs): string {
  if (platform === 'win32') return runtimeDir
  const max = platform === 'linux' ? MAX_SOCKET_PATH.linux : MAX_SOCKET_PATH.other
  if (Buffer.byteLength(runtimeDir) + MAX_SOCKET_NAME <= max) return runtimeDir
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  const base = nonEmpty(env['XDG_RUNTIME_DIR'])
  return base !== undefined && posix.isAbsolute(base) && Buffer.byteLength(base) < max / 2
    ? posix.join(base, `hsu-${hash}`)
    : posix.join(tmpDir, `hsu-${uid ?? 0}-${hash}`)
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

/**
 * Creates the directories of a node that are not there, with their modes, and makes sure of the runtime directory:
 * it must be a real directory (no link) that belongs to this user; access for others is taken away.
 *
 * @throws HsuError `NOT_PERMITTED` when one cannot be made, or the runtime directory is someone else's
 */
export async function prepareDirectories(paths: NodePaths, uid: number | undefined): Promise<void> {
  await make(paths.dataDir, 0o700)
  await make(paths.unitsDir, 0o700)
  await make(paths.logDir, 0o750)
  await make(paths.runtimeDir, 0o700)
  if (uid !== undefined) await secure(paths.runtimeDir, uid)
}

async function make(directory: string, mode: number): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode })
  } catch (error) {
    const why = systemCode(error) ?? messageOf(error)
    const advice = 'choose another place with --data-dir'
    throw new HsuError('NOT_PERMITTED', `cannot create ${directory}: ${why}; ${advice}`, {
      details: { directory },
      cause: error,
    })
  }
}

/** Not `stat`: in a world-writable place a link could lead anywhere. */
async function secure(directory: string, uid: number): Promise<void> {
  const found = await lstat(directory)
  const fault = !found.isDirectory()
    ? 'is not a directory'
    : found.uid !== uid
      ? `belongs to user id ${found.uid}`
      : undefined
  if (fault !== undefined) {
    const advice = 'remove it, or choose another place with --data-dir or XDG_RUNTIME_DIR'
    throw new HsuError('NOT_PERMITTED', `runtime directory ${directory} ${fault}; ${advice}`, {
      details: { directory },
    })
  }
  if ((found.mode & 0o077) !== 0) await chmod(directory, 0o700)
}

/** The path of a socket in the runtime directory; on Windows the name of a pipe that only this data directory has. */
export function socketPath(paths: NodePaths, name: string, platform: NodeJS.Platform): string {
  if (platform !== 'win32') return join(paths.runtimeDir, name)
  const hash = createHash('sha256').update(paths.dataDir.toLowerCase()).digest('hex').slice(0, 12)
  return `\\\\.\\pipe\\hsu-${hash}-${name}`
}
