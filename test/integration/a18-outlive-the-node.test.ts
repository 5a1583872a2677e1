import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { aloneConfig } from '../support/node-configs.ts'
import { faultsOfLog, screams, soleMissing, soleUnit } from '../support/sole.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly unit: string
  readonly replica: number
  readonly pid: number | null
  readonly state: string
  readonly ready: boolean
  readonly restarts: number
  readonly exit: { code?: number; signal?: string } | null
}

const SOLE_UNITS = 20

const rowOf = async (node: SpawnedNode, unit: string): Promise<Row | undefined> =>
  (await node.json<Row>('ps')).find((row) => row.unit === unit)

const untilState = (node: SpawnedNode, unit: string, state: string): Promise<Row> =>
  until(`${unit} to be ${state}`, async () => {
    const row = await rowOf(node, unit)
    return row?.state === state ? row : undefined
  })

/** The number of the last line that a unit has written, stored or not. */
async function lastLine(node: SpawnedNode, unit: string): Promise<number> {
  const { stdout } = await node.hsu('logs', unit, '-n', '1', '-o', 'json')
  return Number(/line (\d+)/.exec(stdout)?.[1] ?? 0)
}

/** Ends when a file appears, with its content as exit code. */
function mortal(path: string): readonly string[] {
  return [
    'sh',
    '-c',
    `if [ -e ${path}.done ]; then exec sleep 86400; fi
    while [ ! -e ${path} ]; do sleep 0.1; done; : > ${path}.done; exit "$(cat ${path})"`,
  ]
}

t.test(
  'twenty units outlive their killed node, and the next one takes them over',
  { skip: soleMissing() ?? false, timeout: 240_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const names = Array.from({ length: SOLE_UNITS }, (_, index) => `sole-${index}`)
    const probe = { ready: { exec: ['true'], every: '1s' } }
    const soles = names.map((name) => [name, { ...soleUnit(home, name), probes: probe }] as const)
    const options = {
      config: aloneConfig('each', {
        ...Object.fromEntries(soles),
        fails: { run: mortal(join(home, 'fails')), restart: { policy: 'on-failure' } },
        finishes: { run: mortal(join(home, 'finishes')), restart: { policy: 'on-failure' } },
        held: { run: ['sleep', '86400'], restart: { policy: 'unless-stopped' } },
      }),
    }
    const one = node('each', options)
    const other = node('each', options)
    await one.start()
    const before = await until('all units ready', async () => {
      const rows = await one.json<Row>('ps')
      return rows.every(({ ready }) => ready) ? rows : undefined
    })
    t.equal((await one.hsu('stop', 'held')).code, 0)
    await one.kill()
    const written = lineCount(one, before)

    writeFileSync(join(home, 'fails'), '7')
    writeFileSync(join(home, 'finishes'), '0')
    await until(
      'two units to end',
      () => existsSync(join(home, 'fails.done')) && existsSync(join(home, 'finishes.done')),
    )
    await until('the others to write on', () => written() > SOLE_UNITS)

    one.launch()
    other.launch()
    await until('one of the two to end', () => !one.running || !other.running)
    const [each, second] = one.running ? [one, other] : [other, one]
    t.equal(await second.ended(), 1)
    t.match(each.log, new RegExp(`hsu: node 'each' \\(pid ${each.pid}\\) already runs with ${each.directory}`))
    await until('the other one to answer', async () => (await each.hsu('ps')).code === 0)

    await t.test('the same processes, ready again, not one started twice', async (t) => {
      const after = await until('all soles ready', async () => {
        const rows = (await each.json<Row>('ps')).filter(({ unit }) => unit.startsWith('sole'))
        return rows.every(({ ready }) => ready) ? rows : undefined
      })
      const facts = (rows: readonly Row[]): unknown =>
        rows.filter(({ unit }) => unit.startsWith('sole')).map(({ unit, pid, restarts }) => ({ unit, pid, restarts }))
      t.same(facts(after), facts(before))
      t.equal(screams(home), '')
    })

    await t.test('what ended meanwhile is told with its exit code, and restarted once if it should be', async (t) => {
      const fails = await untilState(each, 'fails', 'up')
      t.equal(fails.restarts, 1)
      t.match(await untilState(each, 'finishes', 'completed'), { exit: { code: 0 }, restarts: 0 })
      t.match(await rowOf(each, 'held'), { state: 'down', pid: null }, 'what a person stopped stays down')
      const { stdout } = await each.hsu('events', '-o', 'json')
      const exits = stdout
        .split('\n')
        .filter((line) => line.includes('"unit.exited"') && line.includes('"unit":"fails"'))
      t.equal(exits.length, 1)
      t.match(exits[0], /code 7/)
    })

    await t.test('no line is lost or doubled', async (t) => {
      for (const unit of names.slice(0, 5)) {
        const last = await lastLine(each, unit)
        await until('a new line', async () => (await lastLine(each, unit)) > last)
        t.same(await faultsOfLog(each, unit), [])
      }
    })
    t.equal((await each.hsu('down')).code, 0)
  },
)

/** Counts what units write while no node reads it. */
function lineCount(node: SpawnedNode, rows: readonly Row[]): () => number {
  const units = rows.filter(({ unit }) => unit.startsWith('sole'))
  const sizes = (): number =>
    units.reduce((sum, { unit }) => {
      const record = JSON.parse(readFileSync(join(node.directory, 'units', unit, '0.json'), 'utf8')) as {
        instance: string
      }
      return sum + readFileSync(join(node.directory, 'units', unit, '0', record.instance, 'stdout')).length
    }, 0)
  const first = sizes()
  return () => (sizes() - first) / 'line 1\n'.length
}

t.test('a recycled pid is not adopted and never signalled', { timeout: 60_000 }, async (t) => {
  const { node } = nodeHome(t)
  const each = node('each', {
    config: aloneConfig('each', { unit: { run: ['sleep', '86400'], stop: { grace: '1s' } } }),
  })
  await each.start()
  const { pid } = await untilState(each, 'unit', 'up')
  await each.kill()

  // The pids of the record now belong to a process that has nothing to do with us.
  const path = join(each.directory, 'units', 'unit', '0.json')
  const record = JSON.parse(readFileSync(path, 'utf8')) as Record<'leader' | 'main', { pid: number }>
  for (const ours of [record.leader.pid, record.main.pid]) process.kill(ours, 'SIGKILL')
  const stranger = spawn('sleep', ['86400'], { stdio: 'ignore', detached: true })
  const ended = endOf(stranger)
  t.teardown(() => stranger.kill('SIGKILL'))
  record.leader.pid = stranger.pid ?? 0
  record.main.pid = stranger.pid ?? 0
  writeFileSync(path, JSON.stringify(record))

  await each.start()
  const fresh = await until('the unit to be restarted', async () => {
    const row = await rowOf(each, 'unit')
    return row?.state === 'up' && row.pid !== pid ? row : undefined
  })
  t.not(fresh.pid, stranger.pid)
  for (const command of ['restart', 'kill', 'stop']) t.equal((await each.hsu(command, 'unit')).code, 0, command)
  t.equal((await each.hsu('down')).code, 0)
  t.equal(ended(), undefined, 'the stranger was not signalled')
})

function endOf(child: ChildProcess): () => string | number | undefined {
  let end: string | number | undefined
  child.once('exit', (code, signal) => {
    end = signal ?? code ?? 0
  })
  return () => end
}

t.test("what upstream's procman left behind is found by its pid file and port", { timeout: 60_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const port = await listeningPort(t, home)
  const config = aloneConfig('each', {
    worker: {
      kind: 'unmanaged',
      find: { pid_file: join(home, 'worker.pid') },
      probes: { ready: { tcp: `127.0.0.1:${port.port}`, every: '1s' } },
    },
  })
  const each = node('each', { config })
  await each.start()
  const found = await until('the process to be found', async () => {
    const row = await rowOf(each, 'worker')
    return row?.ready === true ? row : undefined
  })
  t.equal(found.pid, port.pid)
  t.equal((await each.hsu('down')).code, 0)
  t.doesNotThrow(() => process.kill(port.pid, 0), 'and left alone at the end')
})

/** A process as procman leaves it: `<id>.pid` and `<id>.port` beside each other. */
async function listeningPort(t: Test, home: string): Promise<{ pid: number; port: number }> {
  const program = `const s = require('net').createServer().listen(0, '127.0.0.1', () => {
    const fs = require('fs')
    fs.writeFileSync('${home}/worker.port', String(s.address().port))
    fs.writeFileSync('${home}/worker.pid', String(process.pid))
  })`
  const child = spawn(process.execPath, ['-e', program], { stdio: 'ignore', env: {} })
  t.teardown(() => child.kill('SIGKILL'))
  await until('the pid file', () => existsSync(join(home, 'worker.pid')))
  return { pid: child.pid ?? 0, port: Number(readFileSync(join(home, 'worker.port'), 'utf8')) }
}
