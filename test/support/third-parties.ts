import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A server of the distribution, with its files in a directory of its own. It listens on `LOOPBACK`, on its usual port. */
export interface ThirdParty {
  readonly name: string
  readonly port: number
  /** Starts it as the distribution does: it goes into the background by itself, and its start is over when it serves. */
  readonly daemonize: readonly string[]
  /** Holds the pid of its first process while it runs. */
  readonly pidFile: string
  /** How it is told from others of its kind by name. */
  readonly find: { readonly name: string; readonly args: readonly string[] }
  /** How it is run by a node: in the foreground. */
  readonly unit: { readonly run: readonly string[]; readonly user?: string; readonly stop: object }
  /** How it is asked whether it serves: a probe. */
  readonly check: { readonly exec: readonly string[] } | { readonly http: string }
  /** A client that stays connected, for which the server has a process of its own. */
  readonly client?: readonly string[]
  /** How many processes it has at least. */
  readonly processes: number
}

/** Not the usual address, so that no server of this machine is taken for one of these. */
export const LOOPBACK = '127.43.0.1'

/** PostgreSQL, owned by the user `postgres`, as it refuses to be root. */
export function postgres(directory: string): ThirdParty {
  const bin = postgresBin() ?? ''
  const [data, port] = [join(directory, 'pg'), 5_432]
  const as = ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
  const program = (name: string): string => join(bin, name)
  const psql = [program('psql'), '-h', LOOPBACK, '-U', 'postgres', '-Atc']
  mkdirSync(data)
  execFileSync('chown', ['postgres:postgres', data])
  const initdb = ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync', '--locale=C', '--encoding=UTF8']
  execFileSync(as[0] ?? '', [...as.slice(1), program('initdb'), ...initdb], { stdio: 'ignore', cwd: '/' })
  const settings = [`listen_addresses = '${LOOPBACK}'`, "unix_socket_directories = ''", 'fsync = off']
  writeFileSync(join(data, 'postgresql.conf'), settings.map((line) => `${line}\n`).join(''), { flag: 'a' })
  return {
    name: 'postgres',
    port,
    daemonize: [...as, program('pg_ctl'), 'start', '-w', '-D', data, '-l', join(data, 'log')],
    pidFile: join(data, 'postmaster.pid'),
    find: { name: 'postgres', args: [data] },
    unit: { run: [program('postgres'), '-D', data], user: 'postgres', stop: { signal: 'INT', grace: '60s' } },
    check: { exec: [...psql, 'select 1'] },
    client: [...psql, 'select pg_sleep(86400)'],
    processes: 6,
  }
}

export function nginx(directory: string): ThirdParty {
  const [own, port] = [join(directory, 'nginx'), 8_080]
  const [file, pidFile] = [join(own, 'nginx.conf'), join(own, 'nginx.pid')]
  mkdirSync(own)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((each) => `${each}_temp_path ${own}/${each};`)
  const server = `server { listen ${LOOPBACK}:${port}; location / { return 200 "served\\n"; } }`
  const http = `http { access_log off; ${paths.join(' ')} ${server} }`
  writeFileSync(file, `worker_processes 2;\npid ${pidFile};\nerror_log ${own}/error.log;\nevents {}\n${http}\n`)
  return {
    name: 'nginx',
    port,
    daemonize: ['nginx', '-c', file],
    pidFile,
    find: { name: 'nginx', args: [file] },
    unit: { run: ['nginx', '-c', file, '-g', 'daemon off;'], stop: { signal: 'QUIT', grace: '60s' } },
    check: { http: `http://${LOOPBACK}:${port}/` },
    processes: 3,
  }
}

export function redis(directory: string): ThirdParty {
  const [own, port] = [join(directory, 'redis'), 6_379]
  const pidFile = join(own, 'redis.pid')
  mkdirSync(own)
  const options = ['--bind', LOOPBACK, '--port', String(port), '--dir', own]
  return {
    name: 'redis',
    port,
    daemonize: ['redis-server', ...options, '--daemonize', 'yes', '--pidfile', pidFile],
    pidFile,
    find: { name: 'redis-server', args: [`${LOOPBACK}:${port}`] },
    unit: { run: ['redis-server', ...options], stop: { grace: '60s' } },
    check: { exec: ['redis-cli', '-e', '-h', LOOPBACK, '-p', String(port), 'ping'] },
    processes: 1,
  }
}

/** Why they cannot be run here; undefined when they can. */
export function thirdPartiesMissing(): string | undefined {
  const lacking = [
    ...(postgresBin() === undefined ? ['postgresql'] : []),
    ...['nginx', 'redis-server', 'redis-cli', 'nsenter', 'setpriv'].filter((program) => !isInPath(program)),
  ]
  if (lacking.length === 0) return undefined
  return `needs ${lacking.join(', ')}: apt-get install postgresql nginx redis-server util-linux`
}

/** Where the newest PostgreSQL is: Debian keeps its programs out of PATH. */
function postgresBin(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).map(Number).filter(Number.isFinite) : []
  const bin = join(root, String(Math.max(...versions)), 'bin')
  return versions.length > 0 && existsSync(join(bin, 'initdb')) ? bin : undefined
}

function isInPath(program: string): boolean {
  const directories = (process.env['PATH'] ?? '').split(':')
  return directories.some((directory) => existsSync(join(directory, program)))
}

/** The pid that such a file tells now; undefined while there is none. */
export function pidIn(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

/** Lets users other than root go through to what is theirs. */
export function openTo(directory: string): void {
  chmodSync(directory, 0o711)
}
