import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { eventsOf } from '../support/event-rows.ts'
import { aloneConfig, meshConfig } from '../support/node-configs.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Run {
  readonly run: string
  readonly state: string
  readonly cause: string
  readonly args: readonly string[]
  readonly tick: string | null
  readonly attempts: number
  readonly exit: { readonly code: number } | { readonly signal: string } | null
  readonly reason: string
}
interface Row {
  readonly unit: string
  readonly state: string
  readonly restarts: number
  readonly nextRun: string | null
}

/** `$` is doubled, as variables of the configuration are filled in first. */
const sh = (script: string, ...args: string[]): string[] => ['sh', '-c', script.replaceAll('$', '$$$$'), 'sh', ...args]

/** Waits for its file, then ends as that says. */
const WAIT = 'echo "begun $$"; while [ ! -s "$1" ]; do sleep 0.05; done; exit "$(cat "$1")"'

/** Adds a line to a file, and ends with the code that stands for this many lines. */
const COUNT = 'echo x >>"$1"; [ "$(wc -l <"$1")" -ge "$2" ]'

const runsOf = (node: SpawnedNode, unit: string): Promise<Run[]> => node.json<Run>('runs', unit)

const statesOf = async (node: SpawnedNode, unit: string): Promise<string> =>
  (await runsOf(node, unit)).map(({ state }) => state).join()

async function rowOf(node: SpawnedNode, unit: string): Promise<Row> {
  const row = (await node.json<Row>('ps')).find((each) => each.unit === unit)
  if (row === undefined) throw new Error(`no unit ${unit}`)
  return row
}

const linesOf = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [])

t.test('A16: a job runs when asked, and its end is its result', { timeout: 180_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const file = (name: string): string => join(home, name)
  const quick = { restart: { policy: 'always', backoff: '10ms..10ms', jitter: '0%' } }
  const gated = (name: string, job: object): object => ({ run: sh(WAIT, file(name)), job })
  const units = {
    report: { run: sh('echo "out $*"; echo "err" >&2; exit "${1:-0}"'), job: {}, ...quick },
    killed: { run: sh('kill -KILL $$'), job: {} },
    slow: { run: sh('trap "" TERM; while :; do sleep 0.1; done'), job: { deadline: '1s' }, stop: { grace: '100ms' } },
    third: { run: sh(COUNT, file('third'), '3'), job: { retries: 5 }, ...quick },
    never: { run: sh(COUNT, file('never'), '99'), job: { retries: 2 }, ...quick },
    allow: gated('allow', { concurrency: 'allow' }),
    forbid: gated('forbid', { concurrency: 'forbid' }),
    replace: gated('replace', { concurrency: 'replace' }),
    gated: gated('gated', {}),
    asked: gated('asked', {}),
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()

  await t.test('what it writes comes out where it was written, and its exit code is that of the command', async (t) => {
    t.same(await alone.hsu('run', 'report', '--', '0', 'two words', '$HOME'), {
      code: 0,
      stdout: 'out 0 two words $HOME\n',
      stderr: 'err\n',
    })
    t.match(await rowOf(alone, 'report'), { state: 'completed', restarts: 0 }, 'not failed, not restarted')
    t.match(await alone.hsu('run', 'report', '--', '7'), { code: 7, stdout: 'out 7\n' })
    t.match(await rowOf(alone, 'report'), { state: 'failed', restarts: 0 })
    t.equal((await alone.hsu('run', 'killed')).code, 137, '128 + the number of the signal')
    t.match(await runsOf(alone, 'report'), [
      { state: 'completed', cause: 'person', args: ['0', 'two words', '$HOME'], exit: { code: 0 }, attempts: 1 },
      { state: 'failed', cause: 'person', args: ['7'], exit: { code: 7 }, attempts: 1 },
    ])
    t.match((await alone.hsu('runs', 'report')).stdout, /completed[^]*failed/, 'oldest first')
  })

  await t.test('its output is there while it runs', async (t) => {
    const run = alone.spawn(['run', 'gated'], ['ignore', 'pipe', 'ignore'])
    let text = ''
    run.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await until('its first line', () => text.startsWith('begun '))
    t.equal(await statesOf(alone, 'gated'), 'running')
    writeFileSync(file('gated'), '3')
    t.equal(await until('its end', () => run.exitCode ?? undefined), 3)
  })

  await t.test('^C of the command stops the run; a command that is killed leaves it running', async (t) => {
    const run = alone.spawn(['run', 'asked'], 'ignore')
    await until('the run', async () => (await statesOf(alone, 'asked')) === 'running')
    run.kill('SIGINT')
    t.equal(await until('its end', () => run.exitCode ?? undefined), 143, 'the run had SIGTERM')
    t.match(await runsOf(alone, 'asked'), [{ state: 'stopped', exit: { signal: 'SIGTERM' } }])

    const lost = alone.spawn(['run', 'asked'], 'ignore')
    await until('the run', async () => (await statesOf(alone, 'asked')) === 'stopped,running')
    lost.kill('SIGKILL')
    await until('it to be gone', () => lost.signalCode ?? undefined)
    writeFileSync(file('asked'), '0')
    await until('the run to end by itself', async () => (await statesOf(alone, 'asked')) === 'stopped,completed')
  })

  await t.test('past its deadline it is killed, and that is told as a timeout', async (t) => {
    const { code, stderr } = await alone.hsu('run', 'slow')
    t.equal(code, 124)
    t.match(stderr, /timeout: had not ended after 1s/)
    t.match(await runsOf(alone, 'slow'), [{ state: 'failed', exit: { signal: 'SIGKILL' }, reason: /^timeout/ }])
  })

  await t.test('it is tried again as often as it may be, after its backoff', async (t) => {
    t.equal((await alone.hsu('run', 'third')).code, 0)
    t.match(await runsOf(alone, 'third'), [{ state: 'completed', attempts: 3 }])
    t.equal((await alone.hsu('run', 'never')).code, 1)
    t.match(await runsOf(alone, 'never'), [{ state: 'failed', attempts: 3, reason: /in the last of 3 attempts/ }])
    t.equal(linesOf(file('never')).length, 3)
    const waits = (await eventsOf(alone, 'never')).filter(({ type }) => type === 'unit.backoff')
    t.equal(waits.length, 2, 'one wait before each new attempt')
  })

  await t.test('a run beside another is allowed, forbidden, or takes its place', async (t) => {
    for (const unit of ['allow', 'forbid', 'replace']) {
      t.equal((await alone.hsu('run', '-d', unit)).code, 0)
      const second = await alone.hsu('run', '-d', unit)
      t.equal(second.code === 0, unit !== 'forbid', second.stderr)
      if (unit === 'forbid') t.match(second.stderr, /runs already.*job\.concurrency is forbid/)
    }
    t.equal(await statesOf(alone, 'allow'), 'running,running')
    t.equal(await statesOf(alone, 'forbid'), 'running')
    t.equal(await statesOf(alone, 'replace'), 'stopped,running')
    for (const unit of ['allow', 'forbid', 'replace']) writeFileSync(file(unit), '0')
    await until('all to end', async () => !(await alone.hsu('runs', '-o', 'json')).stdout.includes('"running"'))
    t.equal(await statesOf(alone, 'allow'), 'completed,completed')
    t.equal(await statesOf(alone, 'replace'), 'stopped,completed')
  })

  t.equal((await alone.hsu('down')).code, 0)
  t.same(processesOf(home), [])
})

const SECOND_MS = 1_000

/** A moment so many seconds from now, whole seconds, and the cron expression that means it alone on this day. */
function momentIn(seconds: number): { readonly tickMs: number; readonly cron: string } {
  const tickMs = (Math.ceil(Date.now() / SECOND_MS) + seconds) * SECOND_MS
  const [hour, minute, second] = new Date(tickMs).toISOString().slice(11, 19).split(':')
  return { tickMs, cron: `${Number(second)} ${Number(minute)} ${Number(hour)} * * *` }
}

const clockPast = (ms: number): Promise<unknown> => until('that time to come', () => Date.now() > ms, 90_000)

t.test('A16: a schedule runs its unit once at each of its times', { timeout: 180_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const ticks = join(home, 'ticks')
  const note = sh('echo "$HSU_TICK" >>"$1"', ticks)
  const alone = node('alone', { config: aloneConfig('alone', { beat: { run: note, schedule: '* * * * * *' } }) })
  await alone.start()
  await until('some runs', () => linesOf(ticks).length >= 3)
  t.type((await rowOf(alone, 'beat')).nextRun, 'string')
  t.match((await alone.hsu('runs', 'beat')).stdout, /schedule.*\n(.*\n)*beat@alone is due at /)
  const runs = await runsOf(alone, 'beat')
  t.ok(runs.every(({ cause, tick }) => cause === 'schedule' && tick !== null))

  const missedBy = (lead: number) => {
    const { tickMs, cron } = momentIn(lead)
    const daily = (missed: string) => ({ run: note, schedule: { cron, timezone: 'UTC', missed } })
    return { tickMs, units: { skip: daily('skip'), once: daily('once') } }
  }
  // The node must be gone before the time comes, on a slow machine too.
  for (const lead of [5, 20, 60]) {
    const { tickMs, units } = missedBy(lead)
    alone.configure(aloneConfig('alone', units))
    t.equal((await alone.hsu('reload')).code, 0)
    await alone.kill()
    if (Date.now() >= tickMs) {
      await alone.start()
      continue
    }
    t.equal(new Set(linesOf(ticks)).size, linesOf(ticks).length, 'no time was run twice')
    await clockPast(tickMs + SECOND_MS)
    await alone.start()
    await until('the missed run', async () => (await statesOf(alone, 'once')) === 'completed')
    t.same(
      (await runsOf(alone, 'once')).map(({ tick }) => Date.parse(tick ?? '')),
      [tickMs],
    )
    t.same(await runsOf(alone, 'skip'), [], 'left out')
    for (const unit of ['skip', 'once']) {
      const missed = (await eventsOf(alone, unit)).filter(({ type }) => type === 'run.missed')
      t.match(missed, [{ reason: /^one time of the schedule passed with nobody there/ }], unit)
    }
    break
  }
  t.equal((await alone.hsu('down')).code, 0)
})

const MESH_TICK_MS = 10 * SECOND_MS

t.test('A16: nodes that share a schedule run each of its times once between them', { timeout: 300_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const log = join(home, 'ticks')
  const shared = {
    run: sh('echo "$HSU_TICK $HSU_NODE" >>"$1"', log),
    schedule: { cron: '*/10 * * * * *', scope: 'mesh', missed: 'once' },
  }
  const names = ['a', 'b', 'c']
  const nodes = names.map((name) => node(name, { config: meshConfig(name, keyFile, { shared }) }))
  const nodeNamed = (name: string): SpawnedNode => nodes[names.indexOf(name)] as SpawnedNode
  await Promise.all(nodes.map((each) => each.start()))
  const [a] = nodes as [SpawnedNode]
  const ticks = (): { readonly tick: string; readonly by: string }[] =>
    linesOf(log).map((line) => {
      const [tick = '', by = ''] = line.split(' ')
      return { tick, by }
    })
  const moreTicks = (count: number): Promise<unknown> => {
    const from = ticks().length
    return until(`${count} more runs`, () => ticks().length >= from + count, 12 * MESH_TICK_MS)
  }
  await until('all to see all', async () =>
    (await Promise.all(nodes.map((each) => each.json<{ status: string }>('nodes')))).every(
      (rows) => rows.filter(({ status }) => status === 'alive').length === names.length,
    ),
  )
  // Those before they knew each other may be anybody's.
  await moreTicks(1)
  const from = ticks().length
  await moreTicks(2)
  const victim = ticks().at(-1)?.by ?? ''
  await nodeNamed(victim).kill()
  const atDeath = ticks().length
  await moreTicks(2)
  t.notOk(
    ticks()
      .slice(atDeath)
      .some(({ by }) => by === victim),
    'the others run what follows',
  )
  await nodeNamed(victim).start()
  await moreTicks(2)

  const seen = ticks().slice(from)
  t.equal(new Set(seen.map(({ tick }) => tick)).size, seen.length, 'no time was run twice')
  const times = seen.map(({ tick }) => Date.parse(tick))
  t.same(
    times,
    times.toSorted((one, other) => one - other),
    'nobody made up later for what another had run',
  )
  const listed = await (victim === 'a' ? nodeNamed('b') : a).json<Run & { node: string }>('runs', 'shared')
  t.ok(new Set(listed.map((run) => run.node)).size > 1, `by turns: ${JSON.stringify(seen)}`)
  for (const each of nodes) t.equal((await each.hsu('down')).code, 0)
  t.same(processesOf(home), [])
})
