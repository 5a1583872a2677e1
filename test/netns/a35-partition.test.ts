import { join } from 'node:path'
import t from 'tap'
import { eventsOf } from '../support/event-rows.ts'
import { createLan, type LanHost, lanMissing } from '../support/lan.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly node: string
  readonly pid: number | null
  readonly reason: string
}

const UNITS = {
  kept: { run: ['sleep', '86400'] },
  stops: { run: ['sleep', '86401'], partition: { stop_after: '2s' } },
  moves: { run: ['sleep', '86402'], partition: { replace_after: '3s', order: ['beta'] } },
  strict: { run: ['sleep', '86403'], partition: { stop_after: '2s', replace_after: '5s', order: ['beta'] } },
}

const configOf = ({ name, address }: LanHost, keyFile: string): object => ({
  version: 1,
  node: { name, listen: { ingress: '127.0.0.1:0', mesh: `${address}:0`, link: `${address}:0`, admin: 'off' } },
  mesh: { name: 'site', key_file: keyFile, discovery: { interfaces: ['eth0'] } },
  units: UNITS,
})

/** The nodes on which a unit has a process, as one of them sees it. */
async function homesOf(by: SpawnedNode, unit: string): Promise<string> {
  const rows = (await by.json<UnitRow>('ps')).filter((row) => row.unit === unit && row.pid !== null)
  return rows
    .map(({ node }) => node)
    .toSorted()
    .join()
}

async function reasonsOf(by: SpawnedNode, unit: string): Promise<string> {
  const rows = await eventsOf(by, unit)
  return rows.map(({ type, reason }) => `${type}: ${reason}`).join('\n')
}

const missing = lanMissing()

t.test('a host without its cable', { skip: missing ?? false, timeout: 300_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const lan = createLan(t, ['alpha', 'beta', 'gamma'])
  t.equal((await node('keys', { config: {} }).hsu('mesh', 'create', '--out', keyFile)).code, 0)
  const nodes = lan.map((host) => node(host.name, { prefix: host.prefix, config: configOf(host, keyFile) }))
  const [alpha, beta, gamma] = nodes as [SpawnedNode, SpawnedNode, SpawnedNode]
  await Promise.all(nodes.map((each) => each.start()))
  await until('what moves to run on beta', async () => (await homesOf(alpha, 'moves')) === 'beta')
  await until('what is strict to run on beta', async () => (await homesOf(gamma, 'strict')) === 'beta')

  await t.test('each side does what its units ask for', async (t) => {
    lan[1]?.cable('out')
    await until('beta to stop', async () => (await homesOf(beta, 'stops')) === '')
    await until('beta to stop what is strict', async () => (await homesOf(beta, 'strict')) === '')
    t.equal(await homesOf(beta, 'kept'), 'beta')
    await until('alpha to take over what moves', async () => (await homesOf(gamma, 'moves')) === 'alpha')
    await until('alpha to take over what is strict', async () => (await homesOf(gamma, 'strict')) === 'alpha')
    t.equal(await homesOf(alpha, 'stops'), 'alpha,gamma', 'the larger side goes on')
    t.equal(await homesOf(beta, 'moves'), 'beta', 'and beta has it on its side')
  })

  await t.test('the host alone is operable', async (t) => {
    t.equal((await beta.hsu('restart', 'kept')).code, 0)
    t.equal((await beta.hsu('scale', 'kept=2')).code, 0)
    t.equal((await beta.hsu('start', 'stops')).code, 0)
    await until('what a person wants to run', async () => (await homesOf(beta, 'stops')) === 'beta')
  })

  await t.test('after the heal everything runs as often as it should, and tells why', async (t) => {
    lan[1]?.cable('in')
    await until('one to give way', async () => (await homesOf(alpha, 'moves')) === 'beta')
    await until('all to stop nothing', async () => (await homesOf(alpha, 'stops')) === 'alpha,beta,gamma')
    t.equal(await homesOf(gamma, 'strict'), 'alpha', 'whoever has it keeps it')
    const mesh = await reasonsOf(gamma, 'strict')
    t.match(mesh, /unit.held: on the smaller side of a partition: 1 of 3 nodes, without alpha, gamma/)
    t.match(mesh, /unit.released: takes over from beta, which is missing/)
    t.match((await gamma.hsu('why', 'strict@beta')).stdout, /runs on alpha/)
  })
})
