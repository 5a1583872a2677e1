import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { connect, ControlService } from '../../src/index.ts'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { eventsOf, whatLedTo } from '../support/event-rows.ts'
import { aloneConfig, meshConfig, SLEEPER } from '../support/node-configs.ts'
import { fixture, repoRoot } from '../support/paths.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly state: string
  readonly pid: number | null
  readonly restarts: number
}

async function row(node: SpawnedNode, unit: string): Promise<UnitRow> {
  const found = (await node.json<UnitRow>('ps')).find((each) => each.unit === unit)
  if (found === undefined) throw new Error(`no unit ${unit}`)
  return found
}

t.test(
  'A06: from any node a unit is started, stopped and restarted, and each step says when, by whom and why',
  async (t) => {
    const { home, node } = nodeHome(t)
    const keyFile = join(home, 'mesh.key')
    writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
    const near = node('near', { config: meshConfig('near', keyFile) })
    const far = node('far', { config: meshConfig('far', keyFile, { u: SLEEPER }) })
    await Promise.all([near.start(), far.start()])
    await until(
      'near to know u',
      async () => (await near.hsu('wait', 'u', '--for', 'up', '--timeout', '1s')).code === 0,
    )
    const first = await row(near, 'u')

    await t.test('what is asked for twice is done once, and is no error', async (t) => {
      t.equal((await near.hsu('start', 'u')).code, 0, 'a start of what runs')
      t.match(await row(near, 'u'), { state: 'up', pid: first.pid, restarts: 0 })
      for (const when of ['first', 'again']) {
        const stopped = await near.hsu('stop', 'u')
        t.equal(stopped.code, 0, `a stop, ${when}: ${stopped.stderr}`)
        t.match(await row(near, 'u'), { state: 'down', pid: null })
      }
      t.throws(() => process.kill(first.pid ?? 0, 0), { code: 'ESRCH' })
      for (const when of ['first', 'again']) t.equal((await near.hsu('start', 'u')).code, 0, `a start, ${when}`)
      const second = await row(near, 'u')
      t.equal((await near.hsu('restart', 'u')).code, 0)
      const third = await row(near, 'u')
      t.equal(new Set([first.pid, second.pid, third.pid]).size, 3)
      t.match(third, { state: 'up', restarts: 1 })
    })

    await t.test('and the account of it is the same from both nodes', async (t) => {
      const events = await eventsOf(near, 'u')
      t.same(events, await eventsOf(far, 'u'))
      for (const [index, { time, reason }] of events.entries()) {
        t.ok(Date.parse(time) >= Date.parse(events[index - 1]?.time ?? time), `${time} ${reason}`)
      }
      const steps = events.filter(({ type }) =>
        ['unit.started', 'unit.stopping', 'unit.exited', 'unit.down'].includes(type),
      )
      const told = steps.map((event) => {
        const origin = whatLedTo(event, events)
        return `${event.type} ${origin.type === 'unit.requested' ? (origin.details['operation'] ?? '') : 'node'}`
      })
      t.same(told, [
        'unit.started node',
        'unit.stopping stop',
        'unit.exited stop',
        'unit.down stop',
        'unit.started start',
        'unit.stopping restart',
        'unit.exited restart',
        'unit.started restart',
      ])
      const requests = events.filter(({ type }) => type === 'unit.requested')
      t.equal(requests.length, 6, 'those without effect too')
      for (const { actor } of requests) t.match(actor, /\(uid \d+\)/)
      t.match((await near.hsu('why', 'u')).stdout, /^u-0@far is up\n {2}because restart asked for by /)
    })

    await t.test('an unknown unit is an error that names it', async (t) => {
      for (const command of ['start', 'stop', 'restart']) {
        const { code, stderr } = await near.hsu(command, 'nobody')
        t.not(code, 0)
        t.match(stderr, /nobody/)
      }
    })
  },
)

const hasFlock = ['/usr/bin/flock', '/bin/flock'].some((path) => existsSync(path))

t.test('A06: fifty restarts at once give one process', { skip: hasFlock ? false : 'needs flock(1)' }, async (t) => {
  const { home, node } = nodeHome(t)
  const lock = join(home, 'lock')
  const alone = node('alone', { config: aloneConfig('alone', { u: { run: [fixture('only-one.sh'), lock] } }) })
  await alone.start()
  const connection = connect(`unix:${join(alone.directory, 'run', 'control.sock')}`)
  t.teardown(() => connection.close())
  const control = connection.client(ControlService)
  const starts = (): string[] =>
    existsSync(`${lock}.starts`) ? readFileSync(`${lock}.starts`, 'utf8').trim().split('\n') : []
  await until('the first start', () => starts().length === 1)

  const many = Array.from({ length: 50 }, () => control.restartUnit({ unit: 'u' }))
  const some = Array.from({ length: 10 }, () => control.startUnit({ unit: 'u' }))
  await Promise.all([...many, ...some])
  await until('the last start', async () => starts().at(-1) === String((await row(alone, 'u')).pid))
  for (let round = 0; round < 5; round += 1) await control.restartUnit({ unit: 'u' })
  await until('the last start', async () => starts().at(-1) === String((await row(alone, 'u')).pid))

  t.notOk(existsSync(`${lock}.screams`), 'no copy met another')
  t.ok(starts().length <= 1 + 50 + 5, `${starts().length} starts`)
  const { state, restarts } = await row(alone, 'u')
  t.equal(state, 'up')
  t.ok(
    restarts >= starts().length - 1 && restarts <= 50 + 5,
    `${restarts} restarts; some ended before they could note their pid`,
  )
  const running = processesOf(home).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sleep\0'),
  )
  t.same(running.map(String), starts().slice(-1))
})

t.test('A06: the states that are shown are those that are documented', async (t) => {
  const documented = readFileSync(join(repoRoot, 'docs', 'PROCESS.md'), 'utf8')
  for (const state of ['down', 'starting', 'up', 'stopping', 'backoff', 'failed', 'completed', 'absent', 'ambiguous']) {
    t.match(documented, new RegExp(`^\\|[^|]*\`${state}\`[^|]*\\|`, 'm'), state)
  }
})
