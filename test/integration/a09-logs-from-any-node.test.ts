import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { LogFollower, logRows } from '../support/log-lines.ts'
import { meshConfig } from '../support/node-configs.ts'
import { difference } from '../support/numbered.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly node: string
  readonly unit: string
  readonly pid: number | null
  readonly status: string
}

const knows = (by: SpawnedNode, other: string): Promise<boolean> =>
  until(`${other} to be alive`, async () =>
    (await by.json<Row>('nodes')).some(({ node, status }) => node === other && status === 'alive'),
  )

t.test('A09: logs of a unit from any node, through interruptions', { timeout: 180_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const over = join(home, 'over')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const once = { restart: { policy: 'no' } }
  const counting = (name: string) => ({ run: [fixture('count-lines.sh'), name, over], ...once })
  const bound = { max_size: '64KiB', keep: 16 }
  const a = node('a', {
    config: meshConfig('a', keyFile, { api: { ...counting('api'), logs: bound }, db: counting('db') }),
  })
  const b = node('b', { config: meshConfig('b', keyFile) })
  await Promise.all([a.start(), b.start()])
  await Promise.all([knows(a, 'b'), knows(b, 'a')])

  await t.test('a line tells where it comes from', async (t) => {
    const rows = await until('lines of a at b', async () => {
      const found = await logRows(b, '--since', '1m', '--stream', 'stderr', '-n', '5', 'api', '--node', 'a')
      return found.length === 5 ? found : undefined
    })
    const pid = (await a.json<Row>('ps')).find(({ unit }) => unit === 'api')?.pid
    for (const row of rows) {
      t.match(row, { node: 'a', unit: 'api', replica: 0, pid, stream: 'stderr', line: /^api \d+0$/, level: null })
      t.match(row.instance, /^api-0-[0-9a-f]{6}$/)
    }
  })

  const everywhere = new LogFollower(b, 'api')
  const there = new LogFollower(b, 'api', '--node', 'a')
  const followers = [everywhere, there]
  const more = async (what: string): Promise<void> => {
    const seen = followers.map(({ rows }) => rows.length)
    await until(what, () => followers.every(({ rows }, index) => rows.length > (seen[index] ?? 0)))
  }
  await more('lines to be followed')
  await a.kill()
  await a.start()
  await more('to go on when the node with the unit was gone')
  await b.kill()
  await b.start()
  await knows(b, 'a')
  await more('to go on when the node that was asked was gone')
  writeFileSync(over, '')
  for (const [index, follower] of followers.entries()) {
    await until(`the end, by follower ${index}`, () => follower.texts.includes('api end'))
    const { rows } = follower
    const seqs = rows.map(({ seq }) => seq)
    const wanted = rows.map((_, n) => (seqs[0] ?? 0) + n)
    t.equal(difference(seqs, wanted), undefined, `follower ${index}: no line is missing, none comes twice`)
    t.ok(follower.notes.length > 0, follower.notes.join(' / '))
    follower.stop()
  }

  await t.test('units are merged by time', async (t) => {
    const rows = await logRows(b, '-n', '2000')
    t.same([...new Set(rows.map(({ unit }) => unit))].toSorted(), ['api', 'db'])
    const times = rows.map(({ time }) => time)
    t.equal(difference(times, times.toSorted()), undefined)
    const own = rows.filter(({ unit, stream }) => unit === 'db' && stream === 'stdout').map(({ seq }) => seq)
    t.equal(
      difference(
        own,
        own.toSorted((x, y) => x - y),
      ),
      undefined,
      'each in its order',
    )
  })

  await t.test('the disk they take is bounded', async (t) => {
    const directory = join(a.directory, 'log', 'units', 'api')
    const sizes = readdirSync(directory).map((name) => statSync(join(directory, name)).size)
    t.ok(sizes.length <= bound.keep && sizes.every((size) => size <= 65_536), String(sizes))
  })
  await Promise.all([a.hsu('down'), b.hsu('down')])
})
