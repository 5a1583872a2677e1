import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Outside the repository and kept between runs: other people's programs are no part of it. */
const CACHE = process.env['HSU_BENCH_CACHE'] ?? join(homedir(), '.cache', 'hsu-bench')
const STEP_TIMEOUT_MS = 600_000

type Command = readonly [program: string, ...args: string[]]

/** A program to compare with, in one version, from the registry of its language. */
export interface Peer {
  readonly name: string
  readonly version: string
  /** Where its program is once it is installed. */
  readonly program: string
  readonly install: (directory: string) => void
}

function peer(name: string, version: string, path: string, install: Peer['install']): Peer {
  return { name, version, program: join(CACHE, `${name}-${version}`, path), install }
}

export const SUPERVISOR = peer('supervisor', '4.3.0', 'bin/supervisord', (directory) => {
  run(['python3', '-m', 'venv', directory])
  run([join(directory, 'bin', 'pip'), 'install', '--quiet', `supervisor==${SUPERVISOR.version}`])
})

export const PM2 = peer('pm2', '6.0.13', 'node_modules/.bin/pm2', (directory) => {
  mkdirSync(directory)
  run(['npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefix', directory, `pm2@${PM2.version}`])
})

const PROCESS_COMPOSE_MODULE = 'github.com/f1bonacc1/process-compose'

// `go install` refuses a module that replaces others, so it is built where Go unpacked it.
export const PROCESS_COMPOSE = peer('process-compose', '1.64.1', 'process-compose', (directory) => {
  mkdirSync(directory)
  const told = run(['go', 'mod', 'download', '-json', `${PROCESS_COMPOSE_MODULE}@v${PROCESS_COMPOSE.version}`])
  const { Dir } = JSON.parse(told) as { readonly Dir: string }
  run(['go', '-C', Dir, 'build', '-o', PROCESS_COMPOSE.program, './src'])
})

/** Installs it unless it is there. Returns why that cannot be done. */
export function missing({ name, version, program, install }: Peer): string | undefined {
  if (existsSync(program)) return undefined
  const directory = join(CACHE, `${name}-${version}`)
  process.stderr.write(`bench: installing ${name} ${version} into ${directory}\n`)
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(CACHE, { recursive: true })
  try {
    install(directory)
    return existsSync(program) ? undefined : `${program} is not there after it was installed`
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    return error instanceof Error ? error.message : String(error)
  }
}

function run([program, ...args]: Command): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', timeout: STEP_TIMEOUT_MS })
  if (error !== undefined) throw new Error(`cannot run ${program}: ${error.message}`)
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: ${stderr.trim().split('\n').at(-1) ?? ''}`)
  return stdout
}
