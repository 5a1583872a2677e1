// Runs clients and servers of other implementations against nodes: `npm run conformance`. Fetches what is missing into .cache/conformance,
// with the tools of the languages; says why when it cannot, and then leaves those cases out.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const GRPC_GO = 'v1.85.0'
const H2SPEC = 'v2.2.1+incompatible'

const tools = resolve(process.env.HSU_CONFORMANCE_TOOLS ?? '.cache/conformance')
mkdirSync(tools, { recursive: true })

for (const [program, module] of [
  ['client', `google.golang.org/grpc/interop/client@${GRPC_GO}`],
  ['server', `google.golang.org/grpc/interop/server@${GRPC_GO}`],
  ['h2spec', `github.com/summerwind/h2spec/cmd/h2spec@${H2SPEC}`],
]) {
  if (!existsSync(join(tools, program))) fetchGo(program, module)
}
if (!existsSync(join(tools, 'venv'))) fetchPython()
if (!existsSync(join(tools, 'cpp-client'))) buildCpp()

const { status } = spawnSync(process.execPath, ['dist/test/conformance/interop.test.js'], {
  stdio: 'inherit',
  env: { ...process.env, HSU_CONFORMANCE_TOOLS: tools, TAP_TIMEOUT: '1800' },
})
process.exitCode = status ?? 1

/** A module of its own, because `go install` by path needs none and takes no two versions. */
function fetchGo(program, module) {
  const directory = join(tools, 'go')
  mkdirSync(directory, { recursive: true })
  if (!existsSync(join(directory, 'go.mod')))
    writeFileSync(join(directory, 'go.mod'), 'module conformance\n\ngo 1.21\n')
  const env = { ...process.env, GOBIN: tools, GOFLAGS: '-mod=mod' }
  const { error, status, stderr } = spawnSync('go', ['install', module], { cwd: directory, env, encoding: 'utf8' })
  if (error !== undefined) say(`${program} is left out: there is no Go here`)
  else if (status !== 0) say(`${program} is left out: ${stderr.split('\n').at(-2)}`)
}

function fetchPython() {
  const venv = join(tools, 'venv')
  const made = spawnSync('python3', ['-m', 'venv', venv])
  const got = made.status === 0 && spawnSync(join(venv, 'bin/pip'), ['install', '--quiet', 'grpcio']).status === 0
  if (!got) say('grpcio is left out: no Python, or no way to its registry')
}

/** With the packages of the distribution (Debian: g++ pkg-config protobuf-compiler-grpc libgrpc++-dev). */
function buildCpp() {
  const directory = join(tools, 'cpp')
  mkdirSync(directory, { recursive: true })
  const sources = resolve('test/conformance')
  const plugin = spawnSync('sh', ['-c', 'command -v grpc_cpp_plugin'], { encoding: 'utf8' }).stdout.trim()
  const flags = spawnSync('pkg-config', ['--cflags', '--libs', 'grpc++', 'protobuf'], { encoding: 'utf8' })
  if (plugin === '' || flags.status !== 0) {
    say('C++ is left out: there is no libgrpc++-dev, protobuf-compiler-grpc or pkg-config here')
    return
  }
  const out = [`--cpp_out=${directory}`, `--grpc_out=${directory}`, `--plugin=protoc-gen-grpc=${plugin}`]
  const made = spawnSync('protoc', ['-I', sources, ...out, 'testing.proto'], { encoding: 'utf8' })
  for (const program of ['server', 'client']) {
    const files = [join(sources, 'cpp', `${program}.cpp`), 'testing.pb.cc', 'testing.grpc.pb.cc']
    const libraries = flags.stdout.trim().split(/\s+/)
    const args = ['-std=c++17', '-O1', '-I.', '-o', join(tools, `cpp-${program}`), ...files, ...libraries]
    const { error, status, stderr } = spawnSync('g++', args, { cwd: directory, encoding: 'utf8' })
    if (error === undefined && status === 0) continue
    say(`C++ is left out: ${error === undefined ? stderr.split('\n').slice(0, 3).join(' ') : 'there is no g++ here'}`)
    if (made.status !== 0) say(made.stderr)
    return
  }
}

function say(text) {
  process.stderr.write(`conformance: ${text}\n`)
}
