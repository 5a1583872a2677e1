import t from 'tap'
import { aloneConfig, SLEEPER } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly unit: string
  readonly pid: number | null
  readonly state: string
}

const pidsOf = async (node: SpawnedNode): Promise<Record<string, number | null>> =>
  Object.fromEntries((await node.json<Row>('ps')).map(({ unit, pid }) => [unit, pid]))

const untilUp = (node: SpawnedNode, ...units: string[]): Promise<unknown> =>
  until(`${units.join(', ')} up`, async () => {
    const rows = await node.json<Row>('ps')
    return units.every((unit) => rows.some((row) => row.unit === unit && row.state === 'up'))
  })

t.test('a reload applies what changed and touches nothing else', { timeout: 120_000 }, async (t) => {
  const { node } = nodeHome(t)
  const units = { same: SLEEPER, tuned: SLEEPER, moved: SLEEPER, gone: SLEEPER }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  await untilUp(alone, ...Object.keys(units))
  const before = await pidsOf(alone)

  const next = {
    same: SLEEPER,
    tuned: { ...SLEEPER, stop: { grace: '3s' } },
    moved: { ...SLEEPER, env: { X: '1' } },
    fresh: SLEEPER,
  }
  const expected = [
    { unit: 'gone', change: 'removed', keys: [] },
    { unit: 'tuned', change: 'updated', keys: ['stop'] },
    { unit: 'moved', change: 'restarted', keys: ['env'] },
    { unit: 'fresh', change: 'added', keys: [] },
  ]

  t.test('--dry-run only tells', async (t) => {
    alone.configure(aloneConfig('alone', next))
    const { code, stdout } = await alone.hsu('reload', '--dry-run', '-o', 'json')
    t.equal(code, 0)
    t.same(JSON.parse(stdout), { units: expected, needsUpgrade: [] })
    t.same(await pidsOf(alone), before)
  })

  t.test('hsu reload does it', async (t) => {
    const { code, stdout } = await alone.hsu('reload', '-o', 'json')
    t.equal(code, 0)
    t.same(JSON.parse(stdout), { units: expected, needsUpgrade: [] })
    await untilUp(alone, 'same', 'tuned', 'moved', 'fresh')
    const after = await pidsOf(alone)
    t.same(Object.keys(after).sort(), ['fresh', 'moved', 'same', 'tuned'])
    t.equal(after['same'], before['same'])
    t.equal(after['tuned'], before['tuned'], 'a grace is taken over as it runs')
    t.not(after['moved'], before['moved'])
    const { stdout: events } = await alone.hsu('events', '-o', 'json')
    t.match(events, /"config\.reloaded"/)
  })

  t.test('a configuration with faults changes nothing, and all faults are told', async (t) => {
    const known = await pidsOf(alone)
    const faults = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`bad-${index}`, { run: ['x'], prots: {} }]),
    )
    alone.configure(aloneConfig('alone', { ...faults, same: { run: ['sleep', '1'] } }))
    const { code, stdout, stderr } = await alone.hsu('reload')
    t.equal(code, 2)
    t.equal(stdout, '')
    t.equal(stderr.match(/unknown key/g)?.length, 60, 'more than a status of gRPC can hold')
    t.same(await pidsOf(alone), known)
    t.match((await alone.hsu('events', '-o', 'json')).stdout, /"config\.refused"/)
    t.match(alone.log, /configuration not reloaded: the old one stays in force/)
  })

  t.test('what needs a new process of the node is named, the rest is applied', async (t) => {
    alone.configure(aloneConfig('renamed', { same: SLEEPER }, { log_level: 'debug' }))
    const known = await pidsOf(alone)
    const { code, stdout } = await alone.hsu('reload', '-o', 'json')
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { needsUpgrade: ['node.name', 'node.log_level'] })
    t.same(await pidsOf(alone), { same: known['same'] })
    t.match(await alone.json('nodes'), [{ node: 'alone' }])
  })

  t.test('SIGHUP does the same', async (t) => {
    alone.configure(aloneConfig('alone', { same: SLEEPER, late: SLEEPER }))
    alone.signal('SIGHUP')
    await untilUp(alone, 'late')
    t.equal((await alone.hsu('down')).code, 0)
  })
})
