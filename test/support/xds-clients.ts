import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { fixture, repoRoot } from './paths.ts'
import { until } from './until.ts'

/**
 * A gRPC client of another implementation. Run with a target, a method, a number of calls a second and metadata, it calls until its
 * standard input ends, prints `to INSTANCE` after the first answer of each, and in the end `{answers: {INSTANCE: n}, errors: {TEXT: n}}`.
 * With 0 calls a second it calls once and prints `{code, message, ms}`.
 */
export interface ForeignClient {
  readonly name: string
  /** Of its targets: `xds`, or `hsu` for what has our resolver in it. */
  readonly scheme: 'xds' | 'hsu'
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** What a client counted. */
export interface Counted {
  readonly answers: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

/** Versions that are installed, in a cache of their own. */
const GRPCIO = '1.84.0'
const [GRPC_JS, GRPC_JS_XDS] = ['1.14.7', '1.14.1']
const GRPC_GO = 'v1.75.0'

const INSTALL_TIMEOUT_MS = 600_000

const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'hsu-test', 'xds-clients')

/** Where npm has the real protos. */
export const NPM_CACHE = join(CACHE, `npm-${GRPC_JS_XDS}`)

/** The clients that can be had here, and of the others why not. */
export function foreignClients(): { clients: ForeignClient[]; missing: string[] } {
  const clients: ForeignClient[] = []
  const missing: string[] = []
  for (const [name, prepare] of Object.entries(PREPARATIONS)) {
    try {
      clients.push({ name, scheme: 'xds', ...prepare() })
    } catch (error) {
      missing.push(`${name}: ${reasonOf(error)}`)
    }
  }
  return { clients, missing }
}

type Prepared = Omit<ForeignClient, 'name' | 'scheme'> & Partial<Pick<ForeignClient, 'scheme'>>

const PREPARATIONS: Readonly<Record<string, () => Prepared>> = {
  python() {
    const directory = join(CACHE, `python-${GRPCIO}`)
    const python = join(directory, 'bin', 'python')
    once(directory, () => {
      run('python3', ['-m', 'venv', directory])
      run(python, ['-m', 'pip', 'install', '--quiet', `grpcio==${GRPCIO}`])
    })
    return { command: [python, fixture('xds-clients/client.py')], env: {} }
  },
  node: () => nodeClient(),
  resolver: () => ({ scheme: 'hsu', ...nodeClient() }),
  go: () => goProgram('client', fixture('xds-clients/client.go')),
}

/** A program of a test or bench in another language, ready to run. */
export type Program = Pick<ForeignClient, 'command' | 'env'>

/** Builds a Go program that uses gRPC, unless that was done before. @throws when there is no Go, or no way to its modules */
export function goProgram(name: string, source: string): Program {
  const directory = join(CACHE, `go-${GRPC_GO}`, name === 'client' ? '' : name)
  const text = readFileSync(source)
  const built = join(directory, 'main.go')
  once(directory, () => {
    writeFileSync(join(directory, 'go.mod'), `module client\n\ngo 1.23\n\nrequire google.golang.org/grpc ${GRPC_GO}\n`)
  })
  if (!existsSync(built) || !readFileSync(built).equals(text) || !existsSync(join(directory, 'client'))) {
    copyFileSync(source, built)
    run('go', ['build', '-mod=mod', '-o', 'client', '.'], directory)
  }
  return { command: [join(directory, 'client')], env: {} }
}

/** A program for Node.js that finds gRPC, its xDS library and our resolver by its environment. */
export function nodeProgram(source: string): Program {
  installNpm()
  const env = {
    XDS_CLIENT_MODULES: join(NPM_CACHE, 'index.js'),
    XDS_CLIENT_RESOLVER: join(repoRoot, 'dist/bundle/resolver.js'),
  }
  return { command: [process.execPath, source], env }
}

function nodeClient(): Program {
  return nodeProgram(fixture('xds-clients/client.mjs'))
}

/** Why npm cannot install what the tests take from it; undefined when it could. */
export function npmMissing(): string | undefined {
  try {
    installNpm()
    return undefined
  } catch (error) {
    return `npm: ${reasonOf(error)}`
  }
}

function installNpm(): void {
  once(NPM_CACHE, () => {
    writeFileSync(join(NPM_CACHE, 'package.json'), '{"private": true}')
    const packages = [`@grpc/grpc-js@${GRPC_JS}`, `@grpc/grpc-js-xds@${GRPC_JS_XDS}`]
    run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--silent', ...packages], NPM_CACHE)
  })
}

/** Does what takes long only when the last time did not come to its end. */
function once(directory: string, task: () => void): void {
  const stamp = join(directory, '.complete')
  if (existsSync(stamp)) return
  mkdirSync(directory, { recursive: true })
  task()
  writeFileSync(stamp, '')
}

function run(program: string, args: readonly string[], cwd?: string): void {
  execFileSync(program, args, { ...(cwd !== undefined && { cwd }), timeout: INSTALL_TIMEOUT_MS, stdio: 'pipe' })
}

function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: Buffer; message: string }
  const said = stderr?.toString().trim().split('\n').at(-1)
  return said === undefined || said === '' ? message : said
}

/** Calls at a rate until `stop`. */
export interface Load {
  readonly name: string
  /** Resolves once each of these instances, or any, has answered. */
  reaches(instances?: readonly string[]): Promise<unknown>
  stop(): Promise<Counted>
}

export function startLoad(t: Test, client: ForeignClient, service: string, method: string, options: LoadOptions): Load {
  const target = `${client.scheme}:///${service}`
  const { lines, child } = start(
    t,
    client,
    [target, method, String(options.rate), ...(options.metadata ?? [])],
    options.env,
  )
  return {
    name: client.name,
    reaches: (instances) =>
      until(`answers to ${client.name} from ${String(instances)}`, () =>
        instances === undefined
          ? lines().some((line) => line.startsWith('to '))
          : instances.every((instance) => lines().includes(`to ${instance}`)),
      ),
    async stop() {
      child.stdin.end()
      const last = await until(`what ${client.name} counted`, () => lines().find((line) => line.startsWith('{')))
      return JSON.parse(last) as Counted
    },
  }
}

export interface LoadOptions {
  /** Calls a second. */
  readonly rate: number
  /** `KEY=VALUE` */
  readonly metadata?: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** Calls once. */
export async function callOnce(
  t: Test,
  client: ForeignClient,
  service: string,
  env: LoadOptions['env'],
): Promise<{ readonly code: string; readonly message: string; readonly ms: number }> {
  const { lines } = start(t, client, [`${client.scheme}:///${service}`, '/no.such.Service/Call', '0'], env)
  const line = await until(`the answer to ${client.name}`, () => lines().find((line) => line.startsWith('{')))
  return JSON.parse(line) as { code: string; message: string; ms: number }
}

function start(t: Test, { name, command, env }: ForeignClient, args: readonly string[], more: LoadOptions['env']) {
  const [file = '', ...rest] = [...command, ...args]
  const child = spawn(file, rest, { env: { ...process.env, NODE_OPTIONS: '', ...env, ...more }, stdio: 'pipe' })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => t.comment(`${name}: ${chunk.toString().slice(0, 1_000)}`))
  child.stdin.on('error', () => undefined)
  return { child, lines: () => text.split('\n').slice(0, -1) }
}
