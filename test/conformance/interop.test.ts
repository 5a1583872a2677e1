import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { repoRoot } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

// Clients and servers of other implementations, through one node and through two. `npm run conformance` fetches them.

/** Where `scripts/conformance.mjs` puts the programs. */
const TOOLS = process.env['HSU_CONFORMANCE_TOOLS'] ?? join(repoRoot, '.cache/conformance')
const CLIENT = join(TOOLS, 'client')
const SERVER = join(TOOLS, 'server')
const PYTHON = [join(TOOLS, 'venv/bin/python3'), 'python3'].find(
  (program) => spawnSync(program, ['-c', 'import grpc']).status === 0,
)
const H2SPEC = join(TOOLS, 'h2spec')
const JS = join(repoRoot, 'test/fixtures/interop-js.mjs')
const CPP_CLIENT = join(TOOLS, 'cpp-client')
const hasCpp = existsSync(CPP_CLIENT) && existsSync(join(TOOLS, 'cpp-server'))
const SERVICE = 'grpc.testing.TestService'

/** The interop cases of gRPC (doc/interop-test-descriptions.md) that need no credentials. */
const CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'custom_metadata',
  'unimplemented_method',
  'unimplemented_service',
]

/** The other clients have no case for a service that nobody has. */
const OWN_CASES = CASES.filter((name) => name !== 'unimplemented_service')

interface Ran {
  readonly code: number
  readonly output: string
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const options = { timeout: 120_000, maxBuffer: 16e6, env: { ...process.env, ...env } }
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, output: stdout + stderr }),
    )
  })
}

/** Runs all cases with grpc-go's client, a process each. */
async function goCases(t: Test, target: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  for (const name of CASES) {
    const { code, output } = await run(CLIENT, [...target, `--test_case=${name}`], env)
    t.equal(code, 0, name)
    if (code !== 0) t.comment(output)
  }
}

/** Runs all cases with a client of ours that is written with another library. */
async function ownCases(
  t: Test,
  command: readonly string[],
  target: string,
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  const [program = '', ...args] = command
  const { output } = await run(program, [...args, target, ...OWN_CASES], env)
  const told = output.split('\n').filter((line) => /^(not )?ok /.test(line))
  t.equal(told.length, OWN_CASES.length, 'all cases were run')
  for (const line of told) t.ok(line.startsWith('ok '), line)
  if (told.length !== OWN_CASES.length) t.comment(output)
}

const skip =
  existsSync(CLIENT) && existsSync(SERVER)
    ? false
    : 'the interop programs of grpc-go are not there (npm run conformance)'

t.test('other implementations', { skip, timeout: 900_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const unit = (...command: string[]): object => ({
    kind: 'integrated',
    run: command,
    ports: { grpc: 'auto' },
    services: [SERVICE],
    probes: { ready: { tcp: '127.0.0.1:{port.grpc}', every: '1s' } },
  })
  const servers = {
    'grpc-go': unit(SERVER, '--port={port.grpc}'),
    'grpc-js': unit(process.execPath, JS, 'server', '{port.grpc}'),
    ...(hasCpp && { 'grpc-cpp': unit(join(TOOLS, 'cpp-server'), '{port.grpc}') }),
  }
  const offered = Object.fromEntries(
    Object.entries(servers).map(([name, server]) => [
      name,
      name === 'grpc-go' ? server : { ...server, activation: 'manual' },
    ]),
  )
  const plain = {
    kind: 'integrated',
    run: [process.execPath, join(repoRoot, 'test/fixtures/plain-http2.mjs'), '{port.grpc}'],
    ports: { grpc: 'auto' },
    services: ['h2.Spec'],
    probes: { ready: { tcp: '127.0.0.1:{port.grpc}', every: '1s' } },
  }
  const config = (name: string, units: object): object => ({
    version: 1,
    node: { name, listen: { ingress: '127.0.0.1:0', mesh: '127.0.0.1:0', link: '127.0.0.1:0', admin: '127.0.0.1:0' } },
    mesh: { name: 'conformance', key_file: keyFile, discovery: { interfaces: ['lo'] } },
    units,
  })
  const near = node('near', { config: config('near', {}) })
  const far = node('far', { config: config('far', { ...offered, plain }) })
  await near.hsu('mesh', 'create', '--out', keyFile)
  await Promise.all([near.start(), far.start()])
  const ports = new Map<string, string>()
  for (const [hops, each] of [
    ['one node', far],
    ['two nodes', near],
  ] as const) {
    const address = await until('the unit is known', async () => {
      const services = await each.json<{ service: string; endpoints: { ready: boolean }[] }>('services')
      const ready = services.filter(({ endpoints }) => endpoints.some((endpoint) => endpoint.ready))
      const known = ['grpc.testing.TestService', 'h2.Spec'].every((name) =>
        ready.some(({ service }) => service === name),
      )
      return known ? /ingress (127\.0\.0\.1:\d+)/.exec(each.log)?.[1] : undefined
    })
    ports.set(hops, address.split(':').at(-1) ?? '')
  }

  const bootstraps = new Map<string, NodeJS.ProcessEnv>()
  for (const [hops, each] of [
    ['the node of the unit', far],
    ['another node', near],
  ] as const) {
    bootstraps.set(hops, JSON.parse((await each.hsu('env', '-o', 'json')).stdout) as NodeJS.ProcessEnv)
  }

  for (const [hops, port] of ports) {
    t.test(`grpcio through ${hops}`, { skip: PYTHON === undefined && 'no grpcio for Python here' }, async (t) => {
      const { output } = await run(PYTHON ?? '', [join(repoRoot, 'test/conformance/hazards.py'), port])
      const told = output.split('\n').filter((line) => /^(not )?ok /.test(line))
      t.ok(told.length >= 7, `${told.length} hazards`)
      for (const line of told) t.ok(line.startsWith('ok '), line)
      if (told.length < 7) t.comment(output)
    })
  }

  for (const server of Object.keys(servers)) {
    t.test(`a server of ${server}`, async (t) => {
      if (server !== 'grpc-go') {
        for (const other of Object.keys(servers)) if (other !== server) await far.hsu('stop', other)
        t.equal((await far.hsu('start', server)).code, 0)
        t.equal((await far.hsu('wait', server, '--for', 'ready')).code, 0)
        await until('the other node to know', async () => {
          const services = await near.json<{ service: string; endpoints: { unit: string; ready: boolean }[] }>(
            'services',
          )
          const ready =
            services.find(({ service }) => service === SERVICE)?.endpoints.filter((each) => each.ready) ?? []
          return ready.length === 1 && ready[0]?.unit === server
        })
      }
      for (const [hops, port] of ports) {
        const address = `127.0.0.1:${port}`
        await t.test(`grpc-go through ${hops}`, (t) => goCases(t, ['--server_host=127.0.0.1', `--server_port=${port}`]))
        await t.test(`grpc-js through ${hops}`, (t) => ownCases(t, [process.execPath, JS, 'client'], address))
        await t.test(`C++ through ${hops}`, { skip: !hasCpp && 'no gRPC for C++ here' }, (t) =>
          ownCases(t, [CPP_CLIENT], address),
        )
      }
      for (const [hops, env] of bootstraps) {
        const target = `xds:///${SERVICE}`
        await t.test(`grpc-go by xDS of ${hops}`, (t) =>
          goCases(t, [`--server_host=${target}`, '--server_port=0'], env),
        )
        await t.test(`C++ by xDS of ${hops}`, { skip: !hasCpp && 'no gRPC for C++ here' }, (t) =>
          ownCases(t, [CPP_CLIENT], target, env),
        )
      }
    })
  }

  t.test('h2spec in strict mode', { skip: !existsSync(H2SPEC) && 'h2spec is not there' }, async (t) => {
    const args = ['-h', '127.0.0.1', '-p', ports.get('one node') ?? '', '--strict', '--path', '/h2.Spec/Get', '-o', '5']
    const { code, output } = await run(H2SPEC, args)
    t.equal(code, 0, 'no failure')
    if (code !== 0) t.comment(output.slice(-6_000))
  })
})
