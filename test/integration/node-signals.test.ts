import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repoRoot } from '../support/paths.ts'
import { aloneConfig, SLEEPER } from '../support/node-configs.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly unit: string
  readonly pid: number | null
  readonly state: string
}

const STUBBORN = { run: ['sh', join(repoRoot, 'test/fixtures/ignore-term.sh')], stop: { grace: '1h' } }

async function pidOf(node: SpawnedNode, unit: string): Promise<number> {
  return until(`${unit} up`, async () => {
    const row = (await node.json<Row>('ps')).find((each) => each.unit === unit)
    return row?.state === 'up' && row.pid !== null ? row.pid : undefined
  })
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('asked twice, the node ends by force what does not end by itself', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const each = node(signal.toLowerCase(), { config: aloneConfig('twice', { stubborn: STUBBORN }) })
    await each.start()
    const pid = await pidOf(each, 'stubborn')
    each.signal(signal)
    await until('the node to be stopping', () => /node\.stopping|unit\.stopping/.test(each.log))
    t.ok(isAlive(pid), `one ${signal} leaves the unit its grace`)
    t.ok(each.running)
    each.signal(signal)
    t.equal(await each.ended(), 0)
    t.same(processesOf(home), [])
  }
})

t.test('SIGQUIT and hsu down --keep-units leave the units to the next node', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const each = node('leaving', { config: aloneConfig('leaving', { sleeper: SLEEPER }) })
  await each.start()
  const pid = await pidOf(each, 'sleeper')

  each.signal('SIGQUIT')
  t.equal(await each.ended(), 0)
  t.ok(isAlive(pid))
  t.notOk(existsSync(join(each.directory, 'node.lock')))

  await each.start()
  t.equal(await pidOf(each, 'sleeper'), pid)
  const { code, stderr } = await each.hsu('down', '--keep-units')
  t.equal(code, 0)
  t.match(stderr, /units run on/)
  t.equal(await each.ended(), 0)
  t.ok(isAlive(pid))

  await each.start()
  t.equal(await pidOf(each, 'sleeper'), pid)
  t.equal((await each.hsu('down')).code, 0)
  t.same(processesOf(home), [])
})

t.test('a node whose terminal output nobody reads any more goes on', { timeout: 60_000 }, async (t) => {
  const { node } = nodeHome(t)
  const each = node('unheard', { config: aloneConfig('unheard', { sleeper: SLEEPER }) })
  await each.startUnheard()
  const pid = await pidOf(each, 'sleeper')
  t.equal((await each.hsu('restart', 'sleeper')).code, 0, 'which it would tell')
  t.not(await pidOf(each, 'sleeper'), pid)
  t.ok(each.running)
  t.equal((await each.hsu('down')).code, 0)
})
