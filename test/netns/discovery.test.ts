import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLan, type LanHost, lanMissing } from '../support/lan.ts'
import { repoRoot } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const ECHO = join(repoRoot, 'dist/examples/echo-ts/server.js')
const NAMES = ['alpha', 'beta']

interface NodeRow {
  readonly node: string
  readonly status: string
  readonly addresses: readonly string[]
}
interface CheckRow {
  readonly name: string
  readonly result: string
  readonly message: string
}

const missing = lanMissing()
const options = { skip: missing ?? false, timeout: 180_000 }

/** Two hosts, each with a node and an echo unit; `prepare` makes their networks what they are to be before they start. */
async function twoHosts(
  t: Test,
  discovery: (host: LanHost, other: LanHost) => object,
  prepare: (host: LanHost, index: number) => void = () => undefined,
) {
  const { home, node } = nodeHome(t)
  const lan = createLan(t, NAMES) as readonly [LanHost, LanHost]
  lan.forEach(prepare)
  const keyFile = join(home, 'mesh.key')
  t.equal((await node('keys', { config: {} }).hsu('mesh', 'create', '--out', keyFile)).code, 0)
  const config = (host: LanHost) => ({
    version: 1,
    node: { name: host.name },
    mesh: { name: 'lan', key_file: keyFile, discovery: discovery(host, lan[host === lan[0] ? 1 : 0]) },
    units: {
      echo: { kind: 'integrated', run: [process.execPath, ECHO, '--port', '{port.grpc}'], ports: { grpc: 'auto' } },
    },
  })
  const nodes = lan.map((host) => node(host.name, { prefix: host.prefix, config: config(host) }))
  await Promise.all(nodes.map((each) => each.start()))
  return { lan, nodes: nodes as unknown as readonly [SpawnedNode, SpawnedNode] }
}

async function meet(nodes: readonly SpawnedNode[]): Promise<void> {
  for (const by of nodes) {
    for (const name of NAMES)
      await until(`${name} to be alive`, async () => (await statusOf(by, name)) === 'alive', 60_000)
  }
}

async function statusOf(by: SpawnedNode, name: string): Promise<string | undefined> {
  return (await by.json<NodeRow>('nodes')).find(({ node }) => node === name)?.status
}

/** Calls the unit on the other host until it answers: its endpoint may be a moment late. */
async function callsReach(nodes: readonly SpawnedNode[]): Promise<void> {
  for (const [index, by] of nodes.entries()) {
    const target = NAMES[1 - index] ?? ''
    await until(`an answer from ${target}`, async () => {
      const args = ['call', 'echo.v1.EchoService/Echo', '{"message":"hi"}', '--metadata', `hsu-node=${target}`]
      const { stdout } = await by.hsu(...args)
      return stdout !== '' && (JSON.parse(stdout) as { node: string }).node === target
    })
  }
}

async function discoveryChecks(node: SpawnedNode): Promise<readonly string[]> {
  const checks = JSON.parse((await node.hsu('doctor', '-o', 'json')).stdout) as CheckRow[]
  return checks
    .filter(({ name }) => /discovery|seed/.test(name))
    .map(({ name, result, message }) => `${result} ${name}: ${message}`)
}

async function down(nodes: readonly SpawnedNode[]): Promise<void> {
  for (const each of nodes) await each.hsu('down')
}

t.test('hosts with bridges of one address and a tunnel meet on the LAN, and doctor tells how', options, async (t) => {
  const { nodes } = await twoHosts(
    t,
    () => ({}),
    (host, index) => {
      // As Docker makes it, alike on every host; and a tunnel that leads nowhere.
      host.ip('link', 'add', 'docker0', 'type', 'bridge')
      host.ip('address', 'add', '172.17.0.1/16', 'dev', 'docker0')
      host.ip('link', 'set', 'docker0', 'up')
      host.ip('link', 'add', 'wg0', 'type', 'bridge')
      host.ip('address', 'add', `10.9.0.${index + 1}/32`, 'dev', 'wg0')
      host.ip('link', 'set', 'wg0', 'up')
    },
  )
  await meet(nodes)
  await callsReach(nodes)
  const self = (await nodes[0].json<NodeRow>('nodes')).find(({ node }) => node === 'alpha')
  t.match(self?.addresses[0], '/10.77.0.1/', 'the address of the LAN is named first')
  const checks = await discoveryChecks(nodes[0])
  t.ok(
    checks.some((check) => /^ok .*eth0 .10[.]77[.]0[.]1.: found beta/.test(check)),
    checks.join('\n'),
  )
  await down(nodes)
})

t.test('hosts with IPv6 alone find and call each other', options, async (t) => {
  const { nodes } = await twoHosts(
    t,
    () => ({}),
    (host, index) => {
      host.ip('address', 'flush', 'dev', 'eth0', 'scope', 'global')
      host.ip('address', 'add', `2001:db8:77::${index + 1}/64`, 'dev', 'eth0', 'nodad')
    },
  )
  await meet(nodes)
  await callsReach(nodes)
  const checks = await discoveryChecks(nodes[0])
  t.ok(
    checks.some((check) => /^ok .*multicast: eth0 .2001:db8:77::1.: found beta/.test(check)),
    checks.join('\n'),
  )
  await down(nodes)
})

t.test('a host without a usable address is told so by doctor, and joins when it has one', options, async (t) => {
  const { nodes, lan } = await twoHosts(
    t,
    () => ({}),
    (host) => host.ip('address', 'flush', 'dev', 'eth0', 'scope', 'global'),
  )
  await until('the interface to be named', async () =>
    (await discoveryChecks(nodes[0])).some((check) => /^warning .*eth0 .fe80:.*link-local/.test(check)),
  )
  lan.forEach((host) => host.ip('address', 'add', `${host.address}/24`, 'dev', 'eth0'))
  await meet(nodes)
  lan[0].ip('link', 'set', 'eth0', 'down')
  await until('it to be told', async () =>
    (await discoveryChecks(nodes[0])).some((check) => /^warning .*this host is on no network/.test(check)),
  )
  await down(nodes)
})

t.test('a host whose address changes is found again, and called', options, async (t) => {
  const { nodes, lan } = await twoHosts(t, () => ({}))
  await meet(nodes)
  lan[1].ip('address', 'flush', 'dev', 'eth0', 'scope', 'global')
  lan[1].ip('address', 'add', '10.77.0.222/24', 'dev', 'eth0')
  await until(
    'the new address to be known',
    async () => {
      const rows = await nodes[0].json<NodeRow>('nodes')
      const beta = rows.find(({ node }) => node === 'beta')
      return beta?.status === 'alive' && beta.addresses[0]?.includes('/10.77.0.222/') === true
    },
    60_000,
  )
  await callsReach(nodes)
  await down(nodes)
})

t.test('where multicast is filtered, seeds suffice; doctor says so', options, async (t) => {
  const { nodes } = await twoHosts(
    t,
    (_, other) => ({ seeds: [`${other.address}:9471`, '10.77.0.99:9471', 'no-such-host.invalid:9471'] }),
    (host) => host.filterMulticast(),
  )
  await meet(nodes)
  await callsReach(nodes)
  const checks = await discoveryChecks(nodes[0])
  t.ok(
    checks.some((check) => check.includes('seed 10.77.0.2:9471: found beta')),
    checks.join('\n'),
  )
  for (const wrong of [
    /^warning .*seed 10[.]77[.]0[.]99:9471: (no answer|no host answers)/,
    /^warning .*seed no-such-host.invalid:9471: the name .*DNS/,
  ]) {
    await until('a wrong seed to be named, with what is wrong with it', async () =>
      (await discoveryChecks(nodes[0])).some((check) => wrong.test(check)),
    )
  }
  await down(nodes)
})

t.test('where all seeds are wrong, multicast suffices', options, async (t) => {
  const { nodes } = await twoHosts(t, () => ({ seeds: ['10.77.0.99:9471', 'no-such-host.invalid:9471'] }))
  await meet(nodes)
  await down(nodes)
})
