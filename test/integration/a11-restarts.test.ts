import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { eventsOf } from '../support/event-rows.ts'
import { aloneConfig, SLEEPER } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly state: string
  readonly want: string
  readonly reason: string
  readonly pid: number | null
  readonly restarts: number
  readonly exit: { readonly code?: number; readonly signal?: string } | null
  readonly retryAt: string | null
}

async function row(node: SpawnedNode, unit: string): Promise<UnitRow> {
  const found = (await node.json<UnitRow>('ps')).find((each) => each.unit === unit)
  if (found === undefined) throw new Error(`no unit ${unit}`)
  return found
}

/** Waits until `ps` shows the unit like this. */
function shown(node: SpawnedNode, unit: string, is: (row: UnitRow) => boolean): Promise<UnitRow> {
  return until(`${unit} to be shown so`, async () => {
    const found = await row(node, unit)
    return is(found) && found
  })
}

const linesOf = (file: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0)

const SOON = { backoff: '10ms..20ms', give_up: '1000/1m' }

t.test('A11: a crash is seen without any probe, with how it ended and when the next try is', async (t) => {
  const { node } = nodeHome(t)
  const restart = { backoff: '1h..1h', jitter: '0%' }
  const alone = node('alone', { config: aloneConfig('alone', { api: { ...SLEEPER, restart } }) })
  await alone.start()
  const { pid } = await shown(alone, 'api', ({ state }) => state === 'up')
  const killedAtMs = Date.now()
  process.kill(pid ?? 0, 'SIGKILL')
  const crashed = await shown(alone, 'api', ({ state }) => state !== 'up')
  t.match(crashed, { state: 'backoff', want: 'up', pid: null, exit: { signal: 'SIGKILL' }, reason: 'ended by SIGKILL' })
  const [exited] = await eventsOf(alone, 'api', '--type', 'unit.exited')
  t.equal((await eventsOf(alone, 'api', '--type', 'unit.exited', '--until', exited?.time ?? '')).length, 0)
  t.comment(`seen ${Date.parse(exited?.time ?? '') - killedAtMs} ms after the kill`)
  const inMs = Date.parse(crashed.retryAt ?? '') - Date.parse(exited?.time ?? '')
  t.ok(Math.abs(inMs - 3_600_000) < 1_000, `next try in ${inMs} ms`)
  t.match((await alone.hsu('ps')).stdout, /api .*backoff .*ended by SIGKILL; next try in (1h|59m)/)
})

t.test('A11: which ends are followed by a restart is what the policy says', async (t) => {
  const { home, node } = nodeHome(t)
  const file = (unit: string): string => join(home, `${unit}.runs`)
  const unit = (name: string, code: number, restart: object): [string, object] => {
    return [name, { run: ['sh', '-c', `echo >> '${file(name)}'; exit ${code}`], restart: { ...SOON, ...restart } }]
  }
  const policies = ['no', 'on-failure', 'always', 'unless-stopped'] as const
  const units = Object.fromEntries([
    ...policies.map((policy) => unit(`${policy}-0`, 0, { policy })),
    ...policies.map((policy) => unit(`${policy}-3`, 3, { policy })),
    unit('success-3', 3, { policy: 'on-failure', success: [0, 3] }),
    unit('success-0', 0, { policy: 'on-failure', success: [3] }),
  ])
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  const onceAndThen = { 'no-0': 'completed', 'no-3': 'failed', 'on-failure-0': 'completed', 'success-3': 'completed' }
  for (const [name, state] of Object.entries(onceAndThen)) {
    const found = await shown(alone, name, (each) => each.state === state)
    t.match(found, { restarts: 0, retryAt: null, exit: { code: Number(name.at(-1)) } }, name)
  }
  for (const name of ['always-0', 'unless-stopped-0', 'on-failure-3', 'always-3', 'unless-stopped-3', 'success-0']) {
    await until(`${name} to run a third time`, () => linesOf(file(name)) >= 3)
  }
  for (const name of Object.keys(onceAndThen)) t.equal(linesOf(file(name)), 1, `${name} ran once`)
})

t.test(
  'A11: the breaker opens, is shown, and lets through who insists, one try a time, and what has healed',
  async (t) => {
    const { home, node } = nodeHome(t)
    const file = (unit: string): string => join(home, `${unit}.runs`)
    const well = join(home, 'well')
    const run = (unit: string) => ['sh', '-c', `echo >> '${file(unit)}'; [ -e '${well}' ] && exec sleep 86400; exit 3`]
    const breaker = { backoff: '10ms..20ms', give_up: '3/1m' }
    const alone = node('alone', {
      config: aloneConfig('alone', {
        patient: { run: run('patient'), restart: { ...breaker, then: 'retry 1h' } },
        eager: { run: run('eager'), restart: { ...breaker, then: 'retry 300ms' } },
        final: { run: run('final'), restart: { ...breaker, then: 'stop' } },
      }),
    })
    await alone.start()

    await t.test('it opens after as many crashes as configured, and says when it tries again', async (t) => {
      const open = await shown(alone, 'patient', ({ state }) => state === 'failed')
      t.match(open, { want: 'up', restarts: 2, exit: { code: 3 } })
      const inMs = Date.parse(open.retryAt ?? '') - Date.now()
      t.ok(inMs > 3_000_000 && inMs <= 3_600_000, `next try in ${inMs} ms`)
      t.match((await alone.hsu('ps')).stdout, /patient .*failed .*; next try in (1h|59m)/)
      t.equal(linesOf(file('patient')), 3)
      t.match(await shown(alone, 'final', ({ state }) => state === 'failed'), { retryAt: null })
    })

    await t.test('why tells the whole chain, down to the end that began it', async (t) => {
      const { stdout } = await alone.hsu('why', 'patient')
      t.match(
        stdout,
        /^patient-0@alone is failed\n {2}because crashed 3 times in 1m; is tried again in 1h .*\n {2}because exited with code 3 /,
      )
      const [why] = await alone.json<{ sentence: string; because: { event: { type: string } | null }[] }>(
        'why',
        'patient',
      )
      t.equal(why?.sentence, 'failed because crashed 3 times in 1m; is tried again in 1h because exited with code 3')
      t.same(
        why?.because.map(({ event }) => event?.type),
        ['unit.failed', 'unit.exited'],
      )
    })

    await t.test('who insists passes it by', async (t) => {
      t.equal((await alone.hsu('restart', '--force', 'patient')).code, 0)
      await until('three tries more', () => linesOf(file('patient')) === 6)
      await shown(alone, 'patient', ({ state }) => state === 'failed')
    })

    await t.test('half open, it lets one try through at a time, and closes when that one lives', async (t) => {
      await until('half-open tries', () => linesOf(file('eager')) >= 5)
      const types = (await eventsOf(alone, 'eager')).map(({ type }) => type)
      const gaveUp = types.indexOf('unit.failed')
      const later = types
        .slice(gaveUp + 1)
        .filter((type) => ['unit.started', 'unit.failed', 'unit.backoff'].includes(type))
      for (const [index, type] of later.entries()) t.equal(type, index % 2 === 0 ? 'unit.started' : 'unit.failed')
      writeFileSync(well, '')
      t.match(await shown(alone, 'eager', ({ state }) => state === 'up'), { want: 'up', retryAt: null })
      t.equal((await alone.hsu('restart', '--force', 'patient')).code, 0)
      await shown(alone, 'patient', ({ state }) => state === 'up')
      t.equal((await alone.hsu('start', 'final')).code, 0)
      await shown(alone, 'final', ({ state }) => state === 'up')
    })
  },
)

t.test('A11: a unit whose program was missing starts by itself once it is there', async (t) => {
  const { home, node } = nodeHome(t)
  const program = join(home, 'late')
  const config = aloneConfig('alone', { late: { run: [program], restart: SOON }, other: SLEEPER })
  const alone = node('alone', { config })
  await alone.start()
  const failed = await shown(alone, 'late', ({ state }) => state === 'failed')
  t.match(failed, { want: 'up', pid: null, reason: /no such file: .*late/ })
  t.ok(failed.retryAt, 'it says when it looks again')
  await shown(alone, 'other', ({ state }) => state === 'up')
  writeFileSync(`${program}.part`, '#!/bin/sh\nexec sleep 86400\n')
  chmodSync(`${program}.part`, 0o755)
  renameSync(`${program}.part`, program)
  t.match(await shown(alone, 'late', ({ state }) => state === 'up'), { retryAt: null })
})
