import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { connect } from '../../src/rpc/index.ts'
import { repoRoot } from '../support/paths.ts'
import { processesOf, SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const example = (path: string): string => join(repoRoot, 'examples', path)

/** A home for what an example starts; nothing of it may be left at the end. */
function exampleHome(t: Test): string {
  const home = mkdtempSync(join(tmpdir(), 'hsu-example-'))
  t.teardown(async () => {
    for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
    await until('nothing to be left', () => processesOf(home).length === 0)
    rmSync(home, { recursive: true, force: true })
  })
  return home
}

function hasPythonGrpc(): Promise<boolean> {
  return new Promise((resolve) => execFile('python3', ['-c', 'import grpc'], (error) => resolve(error === null)))
}

const python = await hasPythonGrpc()

for (const { name, unit, skip } of [
  { name: 'echo-ts', unit: 'echo', skip: false },
  { name: 'worker', unit: 'worker', skip: false },
  { name: 'echo', unit: 'worker', skip: false },
  { name: 'echo-python', unit: 'echo-python', skip: python ? false : 'python3 cannot import grpc' },
] as const) {
  t.test(`examples/${name} runs with one command`, { skip, timeout: 60_000 }, async (t) => {
    const node = new SpawnedNode(join(exampleHome(t), 'node'), { config: {} })
    await node.start('-f', example(`${name}/hsu.yaml`))
    const waited = await node.hsu('wait', unit, '--for', 'ready', '--timeout', '20s')
    t.equal(waited.code, 0, waited.stderr)
    t.equal((await node.hsu('down')).code, 0)
    t.equal(await node.ended(), 0)
  })
}

t.test('examples/embedded serves its own API and runs units in one process', { timeout: 60_000 }, async (t) => {
  const home = exampleHome(t)
  const service = spawn(
    'env',
    ['-u', 'NODE_OPTIONS', process.execPath, join(repoRoot, 'dist/examples/embedded/orders.js')],
    {
      env: { ...process.env, HSU_DATA_DIR: home },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  t.teardown(() => service.kill('SIGKILL'))
  const address = /orders listens on (\S+),/.exec(await firstLine(service))?.[1] ?? ''
  t.match(address, /^127\.0\.0\.1:\d+$/)

  const connection = connect(address)
  t.teardown(() => connection.close())
  const ask = async (): Promise<string> => {
    const answers: Uint8Array[] = []
    const requests = (async function* () {
      yield Buffer.from([0x0a, 2, 0x34, 0x32]) // id: "42"
    })()
    for await (const bytes of connection.call('/shop.v1.OrderService/GetOrder', requests)) answers.push(bytes)
    return Buffer.concat(answers).toString('utf8')
  }
  await until('its units to be up', async () => /worker is up, echo is up/.test(await ask()))
  t.match(await ask(), /42/)

  service.kill('SIGTERM')
  const code = await until('the service to end', () => service.exitCode ?? undefined)
  t.equal(code, 0)
  t.same(processesOf(home), [], 'its units ended with it')
})

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) throw new Error('no stdout')
    createInterface({ input: child.stdout })
      .once('line', resolve)
      .once('close', () => reject(new Error('no line')))
  })
}
