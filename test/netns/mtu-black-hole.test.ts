import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLan, type LanHost, lanMissing } from '../support/lan.ts'
import { fromRoot, repoRoot } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const ECHO = join(repoRoot, 'dist/examples/echo-ts/server.js')
const SMALL_MTU = 1_200

interface NodeRow {
  readonly node: string
  readonly status: string
}

const missing = lanMissing()

async function statusOf(by: SpawnedNode, name: string): Promise<string | undefined> {
  return (await by.json<NodeRow>('nodes')).find(({ node }) => node === name)?.status
}

/** Who answered a call of 20 kB, or why none did within 3 s. */
async function call(from: SpawnedNode, target: string): Promise<string> {
  const message = JSON.stringify({ message: 'x'.repeat(20_000) })
  const args = ['call', 'echo.v1.EchoService/Echo', message, '--metadata', `hsu-node=${target}`, '--timeout', '3s']
  const { stdout, stderr } = await from.hsu(...args)
  return stdout === '' ? stderr : (JSON.parse(stdout) as { node: string }).node
}

/** Three hosts, each with a node and an echo unit. */
async function threeHosts(t: Test) {
  const { home, node } = nodeHome(t)
  const lan = createLan(t, ['alpha', 'beta', 'gamma']) as readonly [LanHost, LanHost, LanHost]
  // Segments of many packets at once would pass whatever the MTU.
  for (const { prefix } of lan) run(prefix, 'python3', fromRoot('test/support/lossy-switch.py'), 'plain', 'eth0')
  const keyFile = join(home, 'mesh.key')
  t.equal((await node('keys', { config: {} }).hsu('mesh', 'create', '--out', keyFile)).code, 0)
  const unit = { kind: 'integrated', run: [process.execPath, ECHO, '--port', '{port.grpc}'], ports: { grpc: 'auto' } }
  const config = (host: LanHost) => ({
    version: 1,
    node: { name: host.name },
    mesh: { name: 'lan', key_file: keyFile },
    units: { echo: unit },
  })
  const nodes = lan.map((host) => node(host.name, { prefix: host.prefix, config: config(host) }))
  return { lan, nodes: nodes as unknown as readonly [SpawnedNode, SpawnedNode, SpawnedNode] }
}

function run([command = '', ...prefix]: readonly string[], ...args: string[]): void {
  execFileSync(command, [...prefix, ...args])
}

t.test('large packets to one host vanish', { skip: missing ?? false, timeout: 180_000 }, async (t) => {
  const { lan, nodes } = await threeHosts(t)
  const [alpha, beta, gamma] = nodes
  lan[2].mtuOfSegment(SMALL_MTU)
  await Promise.all(nodes.map((each) => each.start()))
  for (const by of nodes) {
    for (const { name } of lan) {
      await until(`${name} to be alive`, async () => (await statusOf(by, name)) === 'alive')
    }
  }

  const across = [
    [alpha, 'gamma'],
    [gamma, 'alpha'],
  ] as const

  await t.test('calls across that path end in time, all others are answered, nobody is taken for dead', async (t) => {
    for (const [from, target] of [
      [alpha, 'beta'],
      [beta, 'alpha'],
      [gamma, 'gamma'],
    ] as const) {
      await until(`an answer from ${target}`, async () => (await call(from, target)) === target)
    }
    for (const [from, target] of across) t.match(await call(from, target), /deadline passed|in time/)
    t.equal(await call(alpha, 'beta'), 'beta')
    t.same(
      nodes.filter((each) => /member[.](suspect|dead)/.test(each.log)).map((each) => each.directory),
      [],
    )
  })

  const callsCross = async (t: Test): Promise<void> => {
    for (const [from, target] of across) {
      await until(`an answer from ${target}`, async () => (await call(from, target)) === target)
    }
    t.pass('both ways')
  }

  await t.test('when the path is mended calls pass again, without a restart', async (t) => {
    lan[2].mtuOfSegment(1_500)
    await callsCross(t)
  })

  await t.test('a host whose interface has the MTU of the path is called, and calls', async (t) => {
    lan[2].mtuOfSegment(SMALL_MTU)
    lan[2].ip('link', 'set', 'eth0', 'mtu', String(SMALL_MTU))
    await callsCross(t)
  })
  for (const each of nodes) await each.hsu('down')
})
