import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { logRows, logTexts, shownLines } from '../support/log-lines.ts'
import { difference, numbered } from '../support/numbered.ts'
import { aloneConfig } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'looks into /proc' }

const ONCE = { policy: 'no' }

interface UnitRow {
  readonly unit: string
  readonly state: string
  readonly pid: number | null
}

const stateOf = async (node: SpawnedNode, unit: string): Promise<string | undefined> =>
  (await node.json<UnitRow>('ps')).find((each) => each.unit === unit)?.state

/** Waits behind a gate, then does what `run` says. */
const gated = (gate: string, ...run: string[]): string[] => [
  'sh',
  '-c',
  'while [ ! -e "$0" ]; do sleep 0.02; done; exec "$@"',
  gate,
  ...run,
]

t.test('A08: output while the node cannot read, of a unit that ends before it can', onLinux, async (t) => {
  const { home, node } = nodeHome(t)
  const gate = join(home, 'gate')
  const run = gated(gate, process.execPath, fixture('burst.mjs'))
  const job = { run, restart: ONCE }
  const edge = node('edge', {
    config: aloneConfig('edge', {
      burst: { ...job, logs: { max_size: '64MiB' } },
      mute: { ...job, logs: { enabled: false } },
    }),
  })
  await edge.start()
  const pids = (await edge.json<UnitRow>('ps')).map(({ pid }) => pid)
  t.ok(pids.every((pid) => pid !== null))
  edge.signal('SIGSTOP')
  writeFileSync(gate, '')
  await until('both to have ended without a reader', () => pids.every((pid) => !existsSync(`/proc/${pid}`)))
  await edge.kill()
  await edge.start()
  await until('all to be read', async () => (await logTexts(edge, '-n', '1', 'burst'))[0] === 'the end, unfinished')

  const expected = ['out', 'err'].map((name) => join(home, name))
  const fds = expected.map((path) => openSync(path, 'w'))
  execFileSync(process.execPath, [fixture('burst.mjs')], { stdio: ['ignore', ...fds] as const })
  fds.forEach((fd) => closeSync(fd))
  let count = 0
  for (const [index, stream] of ['stdout', 'stderr'].entries()) {
    const shown = await shownLines(edge, '--stream', stream, 'burst')
    const wanted = readFileSync(expected[index] ?? '', 'latin1')
      .replaceAll('\r\n', '')
      .replaceAll('\n', '')
    t.ok(shown.join('') === wanted, `${stream}, byte for byte`)
    count += shown.length
  }
  t.equal((await logRows(edge, '-n', '1', 'burst')).at(0)?.seq, count - 1, 'numbered without a gap')
  t.equal(await stateOf(edge, 'burst'), 'completed')
  t.equal(await stateOf(edge, 'mute'), 'completed')
  t.same(await logTexts(edge, 'mute'), [], 'nothing is kept of a unit whose logs are off')
  await edge.hsu('down')
})

t.test('A08: a node killed again and again loses and doubles no line', onLinux, async (t) => {
  const { home, node } = nodeHome(t)
  const over = join(home, 'over')
  const counter = { run: [fixture('count-lines.sh'), 'n', over], restart: ONCE }
  const edge = node('edge', { config: aloneConfig('edge', { counter }) })
  await edge.start()
  for (let kills = 0; kills < 4; kills += 1) {
    const before = (await logRows(edge, '-n', '1')).at(0)?.seq ?? -1
    await until('some more lines', async () => ((await logRows(edge, '-n', '1')).at(0)?.seq ?? -1) > before)
    // The last time it ends while no node runs.
    await edge.kill()
    if (kills === 3) writeFileSync(over, '')
    if (kills === 3) await until('the end of the unit', () => processesOf(home).length === 0)
    await edge.start()
  }
  await until('the last line', async () => (await logTexts(edge, '--stream', 'stdout', '-n', '1')).join() === 'n end')
  t.equal(await stateOf(edge, 'counter'), 'completed')
  const rows = await logRows(edge)
  const all = [...numbered('n', rows.length - 1), 'n end']
  t.equal(difference(rows.map(({ line }) => line).toSorted(byNumber), all), undefined, 'each once')
  t.ok(rows.every(({ seq }, index) => seq === index))
  for (const stream of ['stdout', 'stderr']) {
    const own = all.filter((line) => line.endsWith('0') === (stream === 'stderr'))
    t.equal(difference(await logTexts(edge, '--stream', stream), own), undefined, `${stream} in its order`)
  }
  await edge.hsu('down')
})

/** The line that ends it comes last. */
const numberOf = (line: string): number => Number(line.split(' ')[1]?.replace('end', 'Infinity'))
const byNumber = (a: string, b: string): number => numberOf(a) - numberOf(b)

t.test('A08: rotation, compression and the bound on the disk', onLinux, async (t) => {
  const { node } = nodeHome(t)
  const KiB = 1_024
  const COUNT = 60_000
  const TEXT = ' and some text that makes it longer than it need be, for the sake of size'
  const edge = node('edge', {
    config: aloneConfig('edge', {
      chatty: {
        run: [
          process.execPath,
          '-e',
          `for (let n = 0; n < ${COUNT}; n += 1) console.log('n ' + n + '${TEXT}'); setInterval(() => {}, 1e6)`,
        ],
        logs: { max_size: '64KiB', keep: 4, compress: true, max_age: '7d' },
      },
    }),
  })
  await edge.start()
  const last = `n ${COUNT - 1}${TEXT}`
  await until('all to be stored', async () => (await logTexts(edge, '-n', '1')).join() === last)
  const directory = join(edge.directory, 'log', 'units', 'chatty')
  const files = (): string[] => readdirSync(directory)
  await until('the full files to be compressed', () => files().filter((name) => name.endsWith('.gz')).length === 3)
  t.equal(files().length, 4)
  t.ok(files().every((name) => statSync(join(directory, name)).size <= 64 * KiB))
  const lines = await logTexts(edge)
  t.equal(difference(lines, numbered('n', COUNT, TEXT).slice(-lines.length)), undefined, 'none missing between')
  t.ok(lines.length > 1_000)
  t.equal((await logTexts(edge, '-g', `^${lines[10]}$`)).length, 1, 'found in a compressed file')

  const [instance = ''] = readdirSync(join(edge.directory, 'units', 'chatty', '0'))
  const raw = join(edge.directory, 'units', 'chatty', '0', instance, 'stdout')
  await until('the raw file to be freed', () => statSync(raw).blocks * 512 < 2_048 * KiB)
  t.ok(statSync(raw).size > 4e6, 'of what the unit wrote')
  await edge.hsu('down')
})

t.test('A08: filters, levels and messages', onLinux, async (t) => {
  const { node } = nodeHome(t)
  const OUTPUT = [
    '{"level":30,"msg":"started","port":80}',
    'level=warn msg="slow disk" ms=900',
    'ERROR: it broke',
    'GET /healthz 200',
    'plain text',
  ]
  const run = ['sh', '-c', 'printf "%s\\n" "$@"', 'sh', ...OUTPUT]
  const edge = node('edge', {
    config: aloneConfig('edge', {
      all: { run, restart: ONCE },
      some: { run, restart: ONCE, logs: { include: ['level', 'text', 'GET'], exclude: '/healthz ' } },
      json: { run, restart: ONCE, logs: { parse: 'json' } },
      raw: { run, restart: ONCE, logs: { parse: 'none' } },
    }),
  })
  await edge.start()
  for (const unit of ['all', 'some', 'json', 'raw']) {
    await until(`the last line of ${unit}`, async () => (await logTexts(edge, unit, '-n', '1')).join() === 'plain text')
  }
  t.strictSame(await logTexts(edge, 'all'), OUTPUT)
  t.strictSame(await logTexts(edge, 'some'), [OUTPUT[0], OUTPUT[1], OUTPUT[4]])
  const meanings = async (unit: string) => (await logRows(edge, unit)).map(({ level, message }) => [level, message])
  const none = [null, null]
  t.strictSame(await meanings('all'), [['info', 'started'], ['warn', 'slow disk'], ['error', null], none, none])
  t.strictSame(await meanings('json'), [['info', 'started'], none, none, none, none])
  t.strictSame(await meanings('raw'), [none, none, none, none, none])
  t.strictSame(await logTexts(edge, 'all', '--level', 'warn'), [OUTPUT[1], OUTPUT[2]])
  t.strictSame(await logTexts(edge, 'all', '-g', 'level|GET', '-n', '2'), [OUTPUT[1], OUTPUT[3]])
  t.same(await logTexts(edge, 'all', '--since', '1h', '--until', '30m'), [])
  t.equal((await logTexts(edge, 'all', '--since', '1h', '--until', '2100-01-01T00:00:00Z')).length, OUTPUT.length)
  const [, second] = await logRows(edge, 'all')
  t.strictSame(
    await logTexts(edge, 'all', '--after', `${second?.instance}@edge:${second?.seq}`),
    OUTPUT.slice(2),
    'behind a line that was seen',
  )
  await edge.hsu('down')
})
