// Sets up what a fresh clone lacks and rebuilds what has changed, and nothing more: dependencies, types, bundles.
// Runs before `npm test`, `npm run demo` and `npm run build`; a second run with nothing changed takes a moment.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
process.chdir(root)

const MIN_NODE = [20, 19]
const LOCK_STAMP = 'node_modules/.hsu-lock'
const BUILD_STAMP = 'dist/.stamp'
const SOURCES = ['src', 'test', 'examples', 'bench', 'scripts', 'proto', 'package.json', 'tsconfig.json']

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
  fail(`Node.js ${process.versions.node} is too old; HSU needs ${MIN_NODE.join('.')} or newer`)
}

install()
await build()

function install() {
  const wanted = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  const present = existsSync(LOCK_STAMP) ? readFileSync(LOCK_STAMP, 'utf8') : ''
  if (present === wanted) return
  say('installing dependencies (npm ci)')
  run('npm', ['ci', '--no-audit', '--no-fund'])
  writeFileSync(LOCK_STAMP, wanted)
}

async function build() {
  const wanted = fingerprint()
  const present = existsSync(BUILD_STAMP) ? readFileSync(BUILD_STAMP, 'utf8') : ''
  if (present === wanted) return
  const startedAtMs = Date.now()
  say('building')
  // A compiled test whose source is gone must not run on.
  for (const folder of ['test', 'examples', 'bench']) rmSync(join('dist', folder), { recursive: true, force: true })
  if (!existsSync('dist/test')) rmSync('dist/.tsbuildinfo', { force: true })
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'])
  const { bundle } = await import(pathToFileURL(join(root, 'scripts/bundle.mjs')).href)
  await bundle()
  mkdirSync('dist', { recursive: true })
  writeFileSync(BUILD_STAMP, wanted)
  say(`built in ${((Date.now() - startedAtMs) / 1000).toFixed(1)} s`)
}

/** Names, sizes and times of all that the build reads. */
function fingerprint() {
  const hash = createHash('sha256')
  const visit = (path) => {
    const stat = statSync(path)
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name))
    else hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\n`)
  }
  for (const source of SOURCES) if (existsSync(source)) visit(source)
  return hash.digest('hex')
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' })
  if (error !== undefined) fail(`cannot run ${command}: ${error.message}`)
  if (status !== 0) fail(`${command} ${args.join(' ')} failed with code ${status}`)
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`)
}

function fail(text) {
  say(text)
  process.exit(1)
}
