import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { PackedReader, packMember } from '../../../src/process/logs/block-gzip.ts'
import { lineFilter } from '../../../src/process/logs/line-filter.ts'
import { Spool } from '../../../src/process/logs/spool.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { ALL_LINES, LogMachine } from '../../support/log-machine.ts'
import { numbered } from '../../support/numbered.ts'
import { until } from '../../support/until.ts'

const DAY_MS = 86_400_000

t.test('a file of gzip members is read by gzip, and at any place by us', async (t) => {
  const path = join(t.testdir({}), 'x.gz')
  const parts = ['first '.repeat(1_000), 'second '.repeat(1_000), 'third']
  writeFileSync(path, Buffer.concat(await Promise.all(parts.map((part) => packMember(Buffer.from(part))))))
  const content = parts.join('')
  t.equal(execFileSync('gzip', ['-dc', path]).toString(), content)
  const handle = await open(path)
  const packed = await PackedReader.open(handle)
  t.equal(packed.size, content.length)
  for (const [offset, length] of [
    [0, 10],
    [5_990, 40],
    [0, 1e6],
    [12_995, 10],
    [13_005, 1],
  ] as const) {
    t.equal(String(await packed.read(offset, length)), content.slice(offset, offset + length))
  }
  await handle.close()

  writeFileSync(path, readFileSync(path).subarray(0, -3))
  const damaged = await open(path)
  t.equal((await PackedReader.open(damaged)).size, content.length - 5, 'of a damaged file, what lies before the damage')
  await damaged.close()
})

t.test('compressed logs', async (t) => {
  const machine = new LogMachine(t)
  const source = machine.source({ maxBytes: 8_192, keep: 100, compress: true })
  const lines = numbered('line', 3_000, ' with some more text')
  const isPacked = (): boolean => {
    const names = readdirSync(machine.logDir)
    return names.filter((name) => name.endsWith('.gz')).length === names.length - 1
  }
  for (let n = 0; n < lines.length; n += 500) {
    await machine.write(source, `${lines.slice(n, n + 500).join('\n')}\n`)
  }
  await until('all full files are compressed', isPacked)

  t.test('are read like others', async (t) => {
    t.strictSame(await machine.texts(), lines)
    t.strictSame(await machine.texts({ tail: 900 }), lines.slice(-900), 'from the end, into them')
    const [found] = await machine.lines({ grep: /^line 17 / })
    t.match(found, { seq: 17, pid: 7, instance: 'api-0-aa' })
  })

  t.test('are smaller, and any gzip reads them', async (t) => {
    const [name = ''] = readdirSync(machine.logDir).filter((each) => each.endsWith('.gz'))
    const plain = execFileSync('gzip', ['-dc', join(machine.logDir, name)])
    t.ok(statSync(join(machine.logDir, name)).size < plain.length / 2)
    for (const record of plain.toString().trim().split('\n')) t.ok(JSON.parse(record))
  })

  t.test('one left unfinished by a killed node does no harm', async (t) => {
    writeFileSync(join(machine.logDir, '0.1.log.gz.tmp'), 'half')
    const again = machine.source({ maxBytes: 8_192, keep: 100, compress: true })
    await machine.write(again, 'last\n')
    t.strictSame(await machine.texts(), [...lines, 'last'])
    t.notOk(readdirSync(machine.logDir).some((name) => name.endsWith('.tmp')))
  })
})

t.test('a follower reads on through files that are compressed under it', async (t) => {
  const machine = new LogMachine(t)
  const source = machine.source({ maxBytes: 8_192, keep: 200, compress: true })
  const stop = new AbortController()
  const seen: string[] = []
  const expected: string[] = []
  const capture = machine.output.capture(source)
  const query = { ...ALL_LINES, follow: true }
  const following = (async () => {
    for await (const { line } of machine.output.query(query, stop.signal)) seen.push(Buffer.from(line).toString())
  })()
  for (let n = 0; n < 40; n += 1) {
    const lines = numbered(`${n}`, 100, ' and text that is repeated')
    expected.push(...lines)
    appendFileSync(source.stdoutPath, `${lines.join('\n')}\n`)
    await until('now and then the follower has caught up', async () => {
      await machine.clock.advance(10_000)
      return seen.length >= (n % 5 === 0 ? expected.length : 0)
    })
  }
  await capture.finish()
  await until('the rest', () => seen.length >= expected.length)
  t.strictSame(seen, expected)
  t.ok(readdirSync(machine.logDir).some((name) => name.endsWith('.gz')))
  stop.abort()
  await following
})

t.test('lines that are too old go, also when nothing new is written', async (t) => {
  const machine = new LogMachine(t)
  const source = machine.source({ maxAgeMs: 7 * DAY_MS, keep: 8 })
  appendFileSync(source.stdoutPath, 'old\n')
  const capture = machine.output.capture(source)
  await until('it is stored', async () => {
    await machine.clock.advance(100)
    return (await machine.texts()).length === 1
  })
  const age = (days: number): void => {
    const atMs = machine.clock.wallMs() - days * DAY_MS
    for (const name of readdirSync(machine.logDir)) utimesSync(join(machine.logDir, name), atMs / 1_000, atMs / 1_000)
  }
  const pass = async (what: string, days: number, isSo: () => Promise<boolean>): Promise<void> => {
    await machine.clock.advance(days * DAY_MS)
    await until(what, async () => {
      await machine.clock.advance(600_000)
      return isSo()
    })
  }
  age(0)
  await pass('a new file is begun every seventh of the time', 1, async () => readdirSync(machine.logDir).length === 2)
  age(6.5)
  await machine.clock.advance(600_000)
  t.same(await machine.texts(), ['old'])
  age(7.1)
  await pass('it is deleted', 0, async () => (await machine.texts()).length === 0)
  appendFileSync(source.stdoutPath, 'new\n')
  await capture.finish()
  t.same(await machine.texts(), ['new'], 'and that it was read is not forgotten')
})

t.test('include and exclude', async (t) => {
  const keeps = lineFilter([/ERR|WARN/u, /^\d/u], [/noise/u])
  t.same(keeps(['ERR a', 'info', '5 b', 'WARN noise', Buffer.from('ERR \xff', 'latin1')]), [
    'ERR a',
    '5 b',
    Buffer.from('ERR \xff', 'latin1'),
  ])

  t.test('what is dropped is not read again, and is no gap in the numbers', async (t) => {
    const machine = new LogMachine(t)
    const source = machine.source({ keeps: lineFilter([], [/debug/u]) })
    await machine.write(
      source,
      `${numbered('debug', 50_000).join('\n')}\nkept 1\ndebug\nkept 2\n${'debug\n'.repeat(9)}`,
    )
    const lines = await machine.lines()
    t.same(
      lines.map(({ seq, line }) => `${seq} ${Buffer.from(line).toString()}`),
      ['0 kept 1', '1 kept 2'],
    )
    await machine.output.capture({ ...source, keeps: lineFilter([], []) }).finish()
    t.equal((await machine.lines()).length, 2, 'also by one who keeps everything')
  })
})

t.test('of raw output beyond the backlog the oldest is dropped, whole lines, counted once', async (t) => {
  const machine = new LogMachine(t)
  const lines = numbered('line', 40_000, ' of a flood while no node ran')
  const source = machine.source({ backlogBytes: 400_000 })
  await machine.write(source, `${lines.join('\n')}\n`)
  const read = await machine.lines()
  const texts = read.map(({ line }) => Buffer.from(line).toString())
  t.strictSame(texts, lines.slice(-texts.length))
  t.ok(texts.length > 3_000 && texts.length < 12_000, `${texts.length} lines`)
  t.equal(read[0]?.seq, 1, 'a gap in the numbers shows it')
  const dropped = lines.join('\n').length - texts.join('\n').length
  t.match(machine.log.entries, [{ level: 'warn', fields: { stream: 'stdout', bytes: dropped } }])
  t.match(machine.told, [
    { unit: 'api', instance: 'api-0-aa', type: 'unit.logs_lost', details: { replica: '0', stream: 'stdout' } },
    { type: 'unit.logs_kept', details: { stream: 'stdout', bytes: String(dropped) } },
  ])
  t.equal(machine.told.length, 2, 'nothing of a stream that is read in time')
})

t.test('raw output of an ended instance that the power cut short is not read twice', async (t) => {
  const directory = t.testdir({})
  const path = join(directory, 'stdout')
  mkdirSync(directory, { recursive: true })
  writeFileSync(path, 'one\n')
  const options = { offset: 10, maxLineBytes: 100, backlogBytes: 1e6 }
  const ended = new Spool(path, { ...options, ended: true }, memoryLog())
  t.equal(await ended.read(await ended.size()), undefined)
  const alive = new Spool(path, { ...options, ended: false }, memoryLog())
  t.match(await alive.read(await alive.size()), [{ lines: ['one'] }], 'of one that lives, somebody cut the file')
})

t.test('queries by time, level and line', async (t) => {
  const machine = new LogMachine(t)
  const startMs = machine.clock.wallMs()
  const first = machine.source()
  await machine.write(first, 'INFO one\n{"level":"error","msg":"two"}\n')
  await machine.clock.advance(1_000)
  const second = machine.source({ instance: 'api-0-bb' })
  await machine.write(second, 'level=warn msg="three"\nfour\n')
  await machine.clock.advance(1_000)
  await machine.write(machine.source({ unit: 'db' }), 'five\n')

  t.test('until', async (t) => {
    t.equal((await machine.lines({ untilMs: startMs + 1_000 })).length, 2)
    t.same(await machine.texts({ untilMs: startMs + 2_000, tail: 1 }), ['four'], 'the last before it')
    t.same(await machine.texts({ sinceMs: startMs + 1_000, untilMs: startMs + 1_001, tail: 1 }), ['four'])
  })
  t.test('level', async (t) => {
    t.same(
      (await machine.lines({ level: 'warn' })).map(({ level, message }) => [level, message]),
      [
        ['error', 'two'],
        ['warn', 'three'],
      ],
    )
    t.same(
      (await machine.lines({ level: 'info', tail: 1 })).map(({ message }) => message),
      ['three'],
    )
  })
  t.test('behind what was seen, over instances, exactly', async (t) => {
    const units = ['api']
    const after = (...cursors: [string, number][]) => ({
      units,
      after: cursors.map(([instance, seq]) => ({ instance, seq })),
    })
    t.same(await machine.texts(after(['api-0-aa', 0])), [
      '{"level":"error","msg":"two"}',
      'level=warn msg="three"',
      'four',
    ])
    t.same(await machine.texts(after(['api-0-aa', 1], ['api-0-bb', 0])), ['four'])
    t.same(await machine.texts(after(['api-0-aa', 1], ['api-0-bb', 1])), [])
    t.equal((await machine.texts(after(['api-0-zz', 1]))).length, 4, 'of a line that is gone, all there is')
    const mixed = await machine.texts({ tail: 1, after: [{ instance: 'api-0-bb', seq: 0 }] })
    t.same(mixed, ['four', 'five'], 'tail counts for logs of which nothing was seen')
  })
})
