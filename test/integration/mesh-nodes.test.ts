import { writeFileSync } from 'node:fs'
import { connect as dial } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { ECHO_UNIT, meshConfig, SLEEPER } from '../support/node-configs.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface NodeRow {
  readonly node: string
  readonly status: string
  readonly addresses: readonly string[]
}
interface UnitRow {
  readonly unit: string
  readonly node: string
  readonly state: string
  readonly pid: number | null
}

const aliveSeen = async (by: SpawnedNode): Promise<string[]> =>
  (await by.json<NodeRow>('nodes'))
    .filter(({ status }) => status === 'alive')
    .map(({ node }) => node)
    .toSorted()

t.test('two nodes on loopback', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const a = node('a', { config: meshConfig('a', keyFile, { echo: ECHO_UNIT }) })
  const b = node('b', { config: meshConfig('b', keyFile, { sleeper: SLEEPER }) })
  await Promise.all([a.start(), b.start()])

  await t.test('find each other by multicast DNS', async (t) => {
    for (const each of [a, b]) {
      await until('both to be alive', async () => (await aliveSeen(each)).join() === 'a,b')
    }
    t.pass('both see both')
  })

  await t.test('any command works for any node from any node', async (t) => {
    t.equal((await b.hsu('wait', 'echo@a', '--for', 'ready')).code, 0)
    t.same((await b.json<UnitRow>('ps')).map(({ unit, node }) => `${unit}@${node}`).toSorted(), ['echo@a', 'sleeper@b'])
    t.same((await b.json<UnitRow>('ps')).length, (await a.json<UnitRow>('ps')).length)
    const before = (await a.json<UnitRow>('ps')).find(({ unit }) => unit === 'sleeper')?.pid
    t.equal((await a.hsu('restart', 'sleeper@b')).code, 0)
    t.equal((await a.hsu('wait', 'sleeper', '--for', 'up')).code, 0, 'found without naming its node')
    t.not((await a.json<UnitRow>('ps')).find(({ unit }) => unit === 'sleeper')?.pid, before)
    t.match((await a.hsu('events', '-n', '50', '--node', 'b')).stdout, /unit\.started.*sleeper/)
    t.equal((await b.hsu('logs', '-n', '1', 'echo@a')).code, 0)
    t.match((await b.hsu('describe', 'echo@a')).stdout, /echo/)
  })

  await t.test('a call through one node reaches the unit of the other', async (t) => {
    await until('b to know the service', async () => (await b.hsu('services')).stdout.includes('echo.v1.EchoService'))
    const call = await b.hsu('call', 'echo.v1.EchoService/Repeat', '{"message":"hi","count":2}')
    t.equal(call.code, 0, call.stderr)
    t.match(call.stdout, /"number": ?1[^]*"number": ?2/)
  })

  await t.test('garbage on the mesh port and the link port closes that connection alone', async (t) => {
    const addresses = (await a.json<NodeRow>('nodes')).find(({ node }) => node === 'a')?.addresses ?? []
    const mesh = /\/tcp\/(\d+)/.exec(addresses[0] ?? '')?.[1]
    const link = /link.*?127\.0\.0\.1:(\d+)/.exec((await a.hsu('doctor')).stdout)?.[1]
    for (const port of [mesh, link]) {
      t.ok(port, 'the port is known')
      await new Promise<void>((resolve) => {
        const socket = dial(Number(port), '127.0.0.1')
        socket.on('error', () => undefined)
        socket.on('close', () => resolve())
        socket.resume()
        socket.end(Buffer.alloc(4_096, 'neither libp2p nor TLS '))
      })
    }
    t.same(await aliveSeen(b), ['a', 'b'])
    t.equal((await b.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')).code, 0)
  })

  await t.test('a polite leave is at once, and no ghost of an endpoint stays', async (t) => {
    t.equal((await a.hsu('down')).code, 0)
    await until('b to know that a left', async () =>
      (await b.json<NodeRow>('nodes')).some(({ node, status }) => node === 'a' && status === 'left'),
    )
    t.notOk((await b.hsu('services')).stdout.includes('echo.v1.EchoService'))
    const gone = await b.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')
    t.not(gone.code, 0)
  })
  await b.hsu('down')
  await b.ended()
  t.same(processesOf(home), [])
})

t.test('nodes with different keys stay strangers, and each says why once', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const nodes = ['one', 'two'].map((name) => {
    const keyFile = join(home, `${name}.key`)
    writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
    return node(name, { config: meshConfig(name, keyFile) })
  })
  await Promise.all(nodes.map((each) => each.start()))
  for (const each of nodes) {
    await until('the refusal to be reported', () => /another mesh key/.test(each.log))
  }
  // Let them try again several times: they dial every second or so.
  const [one] = nodes as [SpawnedNode, SpawnedNode]
  await until(
    'several tries',
    async () => (await one.hsu('wait', 'nobody', '--for', 'up', '--timeout', '3s')).code !== -1,
  )
  for (const each of nodes) {
    t.equal(each.log.match(/another mesh key/g)?.length, 1, 'once, not every second')
    t.equal((await each.json<NodeRow>('nodes')).length, 1)
    await each.hsu('down')
  }
})

t.test('a node without its key file does not start, and says what to do', async (t) => {
  const { home, node } = nodeHome(t)
  const lost = node('lost', { config: meshConfig('lost', join(home, 'none.key')) })
  const { code, stderr } = await lost.hsu('up', '-f', lost.configFile)
  t.equal(code, 2)
  t.match(stderr, /none\.key.*hsu mesh create/)
  writeFileSync(join(home, 'none.key'), 'not a key')
  t.match((await lost.hsu('up', '-f', lost.configFile)).stderr, /none\.key.*not a mesh key/)
})
