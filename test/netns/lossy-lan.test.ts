import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLan, lanMissing } from '../support/lan.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

/** `HSU_LOSSY_MINUTES=10` is the whole of it. */
const MINUTES = Number(process.env['HSU_LOSSY_MINUTES'] ?? 0.5)
const HOSTS = ['a', 'b', 'c', 'd', 'e', 'f']

interface EventRow {
  readonly time: string
  readonly type: string
  readonly reason: string
  readonly details: { readonly name?: string }
}

function missing(): string | undefined {
  try {
    execFileSync('python3', ['-c', 'import socket; socket.AF_PACKET'])
    return lanMissing()
  } catch {
    return 'needs Python 3'
  }
}

const timeout = MINUTES * 60_000 + 240_000

t.test('a tenth of all frames lost, and 50 ms on the way', { skip: missing() ?? false, timeout }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const lan = createLan(t, HOSTS, { loss: 0.1, delayMs: 50 })
  t.equal((await node('keys', { config: {} }).hsu('mesh', 'create', '--out', keyFile)).code, 0)
  const mesh = { name: 'lossy', key_file: keyFile }
  const nodes = lan.map(({ name, prefix }) =>
    node(name, { prefix, config: { version: 1, node: { name }, mesh, units: {} } }),
  )
  await Promise.all(nodes.map((each) => each.start()))
  const seesAll = async (by: SpawnedNode): Promise<boolean> =>
    (await by.json<{ status: string }>('nodes')).filter(({ status }) => status === 'alive').length === HOSTS.length
  for (const by of nodes) await until('all to see all', () => seesAll(by))

  /** What the node itself saw, from its own account. */
  const eventsOf = ({ directory }: SpawnedNode): EventRow[] => {
    const folder = join(directory, 'events')
    const lines = readdirSync(folder).flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n'))
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as EventRow)
  }

  const startedMs = Date.now()
  await t.test(`kill nobody in ${MINUTES} minutes`, async (t) => {
    await until('the time is over', async () => Date.now() - startedMs >= MINUTES * 60_000, timeout)
    const since = nodes.map((each) => eventsOf(each).filter(({ time }) => Date.parse(time) >= startedMs))
    const told = (type: string): string[] =>
      since.flatMap((rows, index) =>
        rows.filter((row) => row.type === type).map((row) => `${row.details.name} at ${HOSTS[index]}: ${row.reason}`),
      )
    for (const each of nodes)
      t.ok(
        eventsOf(each).filter(({ type }) => type === 'member.alive').length >= HOSTS.length - 1,
        'the account is read',
      )
    t.comment(`${told('member.suspect').length} suspicions`)
    t.same(told('member.dead'), [])
    for (const by of nodes) t.ok(await seesAll(by))
  })

  await t.test('and a host whose cable was out sees all again when it is back', async (t) => {
    const [alone, ...others] = nodes as [SpawnedNode, ...SpawnedNode[]]
    lan[0]?.cable('out')
    await until('it to be alone', async () => {
      const rows = await alone.json<{ status: string; self: boolean }>('nodes')
      return rows.every(({ status, self }) => self || status === 'dead')
    })
    lan[0]?.cable('in')
    const backMs = Date.now()
    await until('it to see all', () => seesAll(alone))
    for (const by of others) await until('all to see all', () => seesAll(by))
    t.comment(`${Date.now() - backMs} ms`)
  })
})
