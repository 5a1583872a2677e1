import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLan, type LanHost, lanMissing } from '../support/lan.ts'
import { repoRoot } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const ECHO = join(repoRoot, 'dist/examples/echo-ts/server.js')

interface NodeRow {
  readonly node: string
  readonly status: string
}
interface ServiceRow {
  readonly service: string
  readonly endpoints: readonly { readonly node: string; readonly ready: boolean }[]
}

const missing = lanMissing()

t.test('three hosts on a LAN', { skip: missing ?? false, timeout: 240_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const lan = createLan(t, ['alpha', 'beta', 'gamma'])
  const keyMade = node('keys', { config: {} })
  t.equal((await keyMade.hsu('mesh', 'create', '--out', keyFile)).code, 0)

  const nodes = lan.map((host) => node(host.name, { prefix: host.prefix, config: configOf(host, keyFile) }))
  const [alpha, beta, gamma] = nodes as [SpawnedNode, SpawnedNode, SpawnedNode]
  await Promise.all(nodes.map((each) => each.start()))

  const statusSeen = async (by: SpawnedNode, of: string): Promise<string | undefined> =>
    (await by.json<NodeRow>('nodes')).find((row) => row.node === of)?.status
  const endpointsSeen = async (by: SpawnedNode): Promise<string[]> => {
    const services = await by.json<ServiceRow>('services')
    const echo = services.find(({ service }) => service === 'echo.v1.EchoService')
    return (echo?.endpoints ?? [])
      .filter(({ ready }) => ready)
      .map((endpoint) => endpoint.node)
      .toSorted()
  }
  const call = async (through: SpawnedNode, target: string): Promise<string> => {
    const args = ['call', 'echo.v1.EchoService/Echo', '{"message":"hi"}', '--metadata', `hsu-node=${target}`]
    const { stdout, stderr } = await through.hsu(...args)
    return stdout === '' ? stderr : (JSON.parse(stdout) as { node: string }).node
  }

  await t.test('find each other by multicast, with no default route', async (t) => {
    for (const by of nodes) {
      for (const { name } of lan) {
        await until(`${by.directory} to see ${name}`, async () => (await statusSeen(by, name)) === 'alive')
      }
    }
    t.pass('all alive everywhere')
  })

  await t.test('route calls across hosts', async (t) => {
    for (const by of nodes) await until('both endpoints', async () => (await endpointsSeen(by)).length === 2)
    t.equal(await call(gamma, 'alpha'), 'alpha')
    t.equal(await call(gamma, 'beta'), 'beta')
    t.equal(await call(alpha, 'beta'), 'beta')
  })

  await t.test('a pulled cable is noticed on both sides, nothing local stops, and it heals by itself', async (t) => {
    const beforePid = (await beta.json<{ pid: number; node: string }>('ps')).find((row) => row.node === 'beta')?.pid
    lan[1]?.cable('out')
    await until('alpha to see beta dead', async () => (await statusSeen(alpha, 'beta')) === 'dead')
    await until('beta to see alpha dead', async () => (await statusSeen(beta, 'alpha')) === 'dead')
    t.same(await endpointsSeen(gamma), ['alpha'], 'no ghost endpoint')
    t.equal(await call(gamma, 'alpha'), 'alpha')
    t.equal(await call(beta, 'beta'), 'beta', 'the host alone still serves itself')

    lan[1]?.cable('in')
    for (const [by, name] of [
      [alpha, 'beta'],
      [gamma, 'beta'],
      [beta, 'alpha'],
      [beta, 'gamma'],
    ] as const) {
      await until(`${name} to be back`, async () => (await statusSeen(by, name)) === 'alive', 30_000)
    }
    await until('its endpoint to be back', async () => (await endpointsSeen(gamma)).length === 2)
    t.equal(await call(gamma, 'beta'), 'beta')
    const afterPid = (await beta.json<{ pid: number; node: string }>('ps')).find((row) => row.node === 'beta')?.pid
    t.equal(afterPid, beforePid, 'its unit was not restarted')
  })

  await t.test('a killed host is noticed and its endpoints vanish', async (t) => {
    await alpha.kill()
    await until('gamma to see alpha dead', async () => (await statusSeen(gamma, 'alpha')) === 'dead')
    t.same(await endpointsSeen(gamma), ['beta'])
    t.equal(await call(gamma, 'beta'), 'beta')
  })

  for (const each of [beta, gamma]) t.equal((await each.hsu('down')).code, 0)
})

if (missing === undefined) {
  t.test('hosts with different mesh keys stay strangers, and each says why once', { timeout: 120_000 }, async (t) => {
    const { home, node } = nodeHome(t)
    const lan = createLan(t, ['one', 'two'])
    const nodes = lan.map((host, index) => {
      const keyFile = join(home, `key-${index}`)
      writeFileSync(keyFile, `hsu-mesh-key-v1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
      return node(host.name, { prefix: host.prefix, config: configOf(host, keyFile) })
    })
    await Promise.all(nodes.map((each) => each.start()))
    for (const each of nodes) {
      await until('the refusal to be reported', () => /another mesh key/.test(each.log))
      t.equal((await each.json<NodeRow>('nodes')).length, 1)
    }
    for (const each of nodes) await each.hsu('down')
  })
}

function configOf(host: LanHost, keyFile: string): object {
  const echo = { kind: 'integrated', run: [process.execPath, ECHO, '--port', '{port.grpc}'], ports: { grpc: 'auto' } }
  return {
    version: 1,
    node: { name: host.name },
    mesh: { name: 'lan', key_file: keyFile },
    units: host.name === 'gamma' ? {} : { echo },
  }
}
