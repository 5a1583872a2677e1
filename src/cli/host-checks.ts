import { createSocket } from 'node:dgram'
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { messageOf, systemCode } from '../base/error.ts'
import { toRfc3339 } from '../base/system-date.ts'
import type { NodePaths } from './local-node.ts'

/** One line of `hsu doctor`. */
export interface HostCheck {
  readonly name: string
  readonly result: 'ok' | 'warning' | 'failed'
  readonly message: string
}

export interface HostFacts {
  /** As `process.versions.node`. */
  readonly nodeVersion: string
  readonly platform: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly paths: NodePaths
  readonly wallMs: number
  /** A node here has the default ports itself. */
  readonly nodeRuns: boolean
}

/** The oldest Node.js that is supported (package.json, engines). */
const MIN_NODE = [20, 19] as const
/** No release of HSU is older: an earlier time means a clock that was never set. 2025-01-01. */
const EARLIEST_WALL_MS = 1_735_689_600_000
/** Default ports (DESIGN section 3); a busy one is no failure, the node takes another. */
const DEFAULT_PORTS = { ingress: 9470, mesh: 9471, link: 9472 } as const
/** RFC 6762. */
const MDNS_PORT = 5353

/** Looks at what a node needs of this host. Sends nothing; leaves nothing behind. */
export async function checkHost(facts: HostFacts): Promise<HostCheck[]> {
  const { paths } = facts
  return [
    checkNodeVersion(facts.nodeVersion),
    checkDirectory('data directory', paths.dataDir),
    checkDirectory('runtime directory', paths.runtimeDir),
    checkDirectory('log directory', paths.logDir),
    ...(facts.nodeRuns ? [] : await Promise.all(Object.entries(DEFAULT_PORTS).map(checkPort))),
    await checkMdns(),
    ...(facts.platform === 'linux' ? [checkProc()] : []),
    ...(facts.platform === 'win32' ? [] : [checkProgram('sh', 'failed', 'it starts the units', facts.env)]),
    ...(facts.platform === 'linux'
      ? [checkProgram('fallocate', 'warning', 'without it logs of chatty units free their space later', facts.env)]
      : []),
    checkTime(facts.wallMs),
  ]
}

function ok(name: string, message: string): HostCheck {
  return { name, result: 'ok', message }
}

function checkNodeVersion(version: string): HostCheck {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const enough = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])
  if (enough) return ok('Node.js', version)
  return { name: 'Node.js', result: 'failed', message: `${version} is too old; install ${MIN_NODE.join('.')} or newer` }
}

function checkDirectory(name: string, path: string): HostCheck {
  try {
    if (existsSync(path)) {
      rmSync(mkdtempSync(join(path, '.doctor-')), { recursive: true })
      return ok(name, `${path} is writable`)
    }
    accessSync(nearestExisting(path), constants.W_OK)
    return ok(name, `${path} can be made`)
  } catch (error) {
    const message = `cannot write to ${path}: ${messageOf(error)}; choose another with --data-dir`
    return { name, result: 'failed', message }
  }
}

function nearestExisting(path: string): string {
  const above = dirname(path)
  return existsSync(path) || above === path ? path : nearestExisting(above)
}

function checkPort([use, port]: [use: string, port: number]): Promise<HostCheck> {
  const name = `port ${use}`
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => {
      const busy = systemCode(error) === 'EADDRINUSE' ? 'is taken' : messageOf(error)
      resolve({ name, result: 'warning', message: `${port} ${busy}; a node takes another and says which` })
    })
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => resolve(ok(name, `${port} is free`)))
    })
  })
}

function checkMdns(): Promise<HostCheck> {
  const name = 'mDNS'
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    socket.once('error', (error) => {
      const message = `cannot share UDP port ${MDNS_PORT}: ${messageOf(error)}; name other nodes in mesh.discovery.seeds`
      resolve({ name, result: 'warning', message })
    })
    socket.bind({ port: MDNS_PORT, address: '127.0.0.1' }, () => {
      socket.close(() => resolve(ok(name, `UDP port ${MDNS_PORT} can be shared`)))
    })
  })
}

function checkProc(): HostCheck {
  const name = '/proc'
  if (existsSync('/proc/self/stat')) return ok(name, 'is mounted')
  return { name, result: 'failed', message: 'is not mounted; without it processes cannot be told apart or measured' }
}

function checkProgram(program: string, otherwise: 'warning' | 'failed', why: string, env: HostFacts['env']): HostCheck {
  const found = (env['PATH'] ?? '').split(delimiter).some((directory) => isExecutable(join(directory, program)))
  if (found) return ok(program, 'is there')
  return { name: program, result: otherwise, message: `is not in PATH; ${why}` }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function checkTime(wallMs: number): HostCheck {
  const shown = toRfc3339(wallMs)
  if (wallMs >= EARLIEST_WALL_MS) return ok('time', shown)
  return { name: 'time', result: 'warning', message: `the clock says ${shown}; set it, or logs and events mislead` }
}
