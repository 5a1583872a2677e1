import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { eventsOf } from '../support/event-rows.ts'
import { meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly node: string
  readonly state: string
  readonly pid: number | null
  readonly reason: string
}

const UNITS = {
  mover: { run: ['sleep', '86400'], partition: { replace_after: '2s', order: ['b'] } },
  local: { run: ['sleep', '86401'] },
}

const rowsOf = async (by: SpawnedNode, unit: string): Promise<UnitRow[]> =>
  (await by.json<UnitRow>('ps')).filter((row) => row.unit === unit)

const homesOf = async (by: SpawnedNode, unit: string): Promise<string> =>
  (await rowsOf(by, unit))
    .filter(({ pid }) => pid !== null)
    .map(({ node }) => node)
    .toSorted()
    .join()

t.test('a unit that one of three nodes runs', { timeout: 180_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const make = (name: string): SpawnedNode => node(name, { config: meshConfig(name, keyFile, UNITS) })
  const [a, b, c] = [make('a'), make('b'), make('c')]
  await Promise.all([a, b, c].map((each) => each.start()))

  await t.test('runs on the first in order, once, and the others say so', async (t) => {
    await until('b to run it', async () => (await homesOf(a, 'mover')) === 'b')
    await until('the others to say so', async () =>
      (await rowsOf(a, 'mover'))
        .filter(({ node }) => node !== 'b')
        .every(({ reason }) => reason === 'held back: runs on b'),
    )
    t.equal(await homesOf(a, 'local'), 'a,b,c')
    t.match((await a.hsu('why', 'mover@a')).stdout, /runs on b/)
  })

  await t.test('killed with its units, b is replaced by one node', async (t) => {
    const pids = (await rowsOf(b, 'mover')).flatMap(({ pid }) => pid ?? [])
    await b.kill()
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await until('another to run it', async () => (await homesOf(a, 'mover')) === 'a')
    const events = await eventsOf(a, 'mover')
    t.match(
      events.map(({ type, reason }) => `${type}: ${reason}`).join('\n'),
      /unit.released: takes over from b, which is missing/,
    )
    t.match((await a.hsu('why', 'mover@a')).stdout, /takes over from b/)
  })

  await t.test('when b is back nothing changes, until a person moves it', async (t) => {
    await b.start()
    await until('b to know', async () =>
      (await rowsOf(b, 'mover')).some(({ node, reason }) => node === 'b' && reason === 'held back: runs on a'),
    )
    t.equal(await homesOf(c, 'mover'), 'a')
    t.equal((await c.hsu('start', 'mover@b')).code, 0)
    await until('b to run it alone', async () => (await homesOf(c, 'mover')) === 'b')
    const rows = await rowsOf(a, 'mover')
    t.match(rows.find(({ node }) => node === 'a')?.reason, /held back: runs on b/)
  })

  await t.test('killed without its units and back, b has its own process still, and nobody has a second', async (t) => {
    const [before] = (await rowsOf(b, 'mover')).filter(({ node }) => node === 'b')
    await b.kill()
    await until('another to run it', async () => (await homesOf(a, 'mover')) !== '')
    await b.start()
    await until('one to give way', async () => (await homesOf(c, 'mover')) === 'b')
    t.equal(
      (await rowsOf(b, 'mover')).find(({ node }) => node === 'b')?.pid,
      before?.pid,
      'it comes first, so it keeps it',
    )
    t.match((await a.hsu('events', '-n', '50', '--node', 'a')).stdout, /unit\.held .*mover/)
  })

  await t.test('stopped by a person it stays stopped, everywhere', async (t) => {
    t.equal((await a.hsu('stop', 'mover@b')).code, 0)
    await until('the others to say so', async () =>
      (await rowsOf(a, 'mover'))
        .filter(({ node }) => node !== 'b')
        .every(({ reason }) => reason === 'held back: was stopped on b, which has it'),
    )
    t.equal(await homesOf(a, 'mover'), '')
  })
})
