import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
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

interface Ran {
  readonly code: number
  readonly output: string
}

function run(program: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 120_000, maxBuffer: 16e6 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, output: stdout + stderr }),
    )
  })
}

const skip =
  existsSync(CLIENT) && existsSync(SERVER)
    ? false
    : 'the interop programs of grpc-go are not there (npm run conformance)'

t.test('other implementations', { skip, timeout: 900_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const unit = {
    kind: 'integrated',
    run: [SERVER, '--port={port.grpc}'],
    ports: { grpc: 'auto' },
    services: ['grpc.testing.TestService'],
  }
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
  const far = node('far', { config: config('far', { interop: unit, plain }) })
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

  for (const [hops, port] of ports) {
    t.test(`grpc-go through ${hops}`, async (t) => {
      for (const name of CASES) {
        const args = ['--server_host=127.0.0.1', `--server_port=${port}`, `--test_case=${name}`]
        const { code, output } = await run(CLIENT, args)
        t.equal(code, 0, name)
        if (code !== 0) t.comment(output)
      }
    })

    t.test(`grpcio through ${hops}`, { skip: PYTHON === undefined && 'no grpcio for Python here' }, async (t) => {
      const { output } = await run(PYTHON ?? '', [join(repoRoot, 'test/conformance/hazards.py'), port])
      const told = output.split('\n').filter((line) => /^(not )?ok /.test(line))
      t.ok(told.length >= 7, `${told.length} hazards`)
      for (const line of told) t.ok(line.startsWith('ok '), line)
      if (told.length < 7) t.comment(output)
    })
  }

  t.test('h2spec in strict mode', { skip: !existsSync(H2SPEC) && 'h2spec is not there' }, async (t) => {
    const args = ['-h', '127.0.0.1', '-p', ports.get('one node') ?? '', '--strict', '--path', '/h2.Spec/Get', '-o', '5']
    const { code, output } = await run(H2SPEC, args)
    t.equal(code, 0, 'no failure')
    if (code !== 0) t.comment(output.slice(-6_000))
  })
})
