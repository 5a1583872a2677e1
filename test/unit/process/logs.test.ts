import { isUtf8 } from 'node:buffer'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { linesBackward } from '../../../src/process/logs/backward.ts'
import { openLogFile } from '../../../src/process/logs/files.ts'
import { KEEP_EVERYTHING } from '../../../src/process/logs/keeping.ts'
import type { LogLine, LogQuery } from '../../../src/process/logs/query.ts'
import {
  type Block,
  decodeBlock,
  decodeProgress,
  encodeBlock,
  encodeProgress,
  isProgress,
  type LineText,
} from '../../../src/process/logs/record.ts'
import { LineSplitter } from '../../../src/process/logs/splitter.ts'
import type { NewEvent } from '../../../src/process/causes.ts'
import { LogStore } from '../../../src/process/logs/store.ts'
import { createWake } from '../../../src/base/wake.ts'
import { type CaptureSource, createOutput, type Output } from '../../../src/process/output.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { until } from '../../support/until.ts'

const never = new AbortController().signal

t.test('the splitter', async (t) => {
  const split = (text: Buffer, cuts: readonly number[], maxBytes: number): { lines: Buffer[]; end: number } => {
    const splitter = new LineSplitter(maxBytes, 0)
    const bounds = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
    const raw = bounds
      .slice(1)
      .flatMap((bound, index) => splitter.push(Buffer.from(text.subarray(bounds[index], bound))))
    const last = splitter.flush()
    const all = last === undefined ? raw : [...raw, last]
    const lines = all.flatMap((group) => group.lines.map((line) => Buffer.from(line as string)))
    return { lines, end: all.at(-1)?.endOffset ?? 0 }
  }

  t.test('gives the same lines however the text is cut into chunks', async () => {
    const bytes = fc.array(fc.constantFrom(0x61, 0x0a, 0x0d, 0x00, 0xff), { maxLength: 60 })
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(60)), fc.integer({ min: 1, max: 9 }), (given, cuts, maxBytes) => {
        const text = Buffer.from(given)
        const whole = split(text, [], maxBytes)
        const cut = split(text, cuts, maxBytes)
        t.strictSame(cut, whole)
        t.equal(whole.end, text.length)
        t.ok(whole.lines.every((line) => line.length <= maxBytes))
      }),
      { numRuns: 300 },
    )
  })

  t.test('ends lines at LF and CR LF, and keeps a lone CR', async (t) => {
    const { lines, end } = split(Buffer.from('a\r\nb\rc\n\nd'), [], 100)
    t.same(lines.map(String), ['a', 'b\rc', '', 'd'])
    t.equal(end, 9)
  })

  t.test('a line of exactly the limit is one piece, one longer is two', async (t) => {
    t.same(split(Buffer.from('abcd\nabcde\n'), [2], 4).lines.map(String), ['abcd', 'abcd', 'e'])
  })
})

const bytesOf = (line: LineText): Buffer => (typeof line === 'string' ? Buffer.from(line) : line)

t.test('records', async (t) => {
  const block = (...lines: readonly LineText[]): Block => ({
    wallMs: 1_700_000_000_000,
    instance: 'api-0-1a2b3c',
    pid: 12,
    stream: 'stderr',
    seq: 7,
    endOffset: 123,
    lines,
  })

  t.test('any bytes come back as they were, in one line of bounded length', async () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 5 }), (given) => {
        const lines = given.map((bytes) => {
          const buffer = Buffer.from(bytes)
          return isUtf8(buffer) ? buffer.toString('utf8') : buffer
        })
        const encoded = encodeBlock(block(...lines))
        t.equal(encoded.indexOf(0x0a), encoded.length - 1)
        const size = given.reduce((sum, { length }) => sum + (length * 4) / 3 + 12, 120)
        t.ok(encoded.length < size, `${encoded.length} for ${size}`)
        const decoded = decodeBlock(encoded.subarray(0, -1))
        t.match({ ...decoded, lines: [] }, block())
        t.same(decoded?.lines.map(bytesOf), lines.map(bytesOf))
      }),
    )
  })
  t.test('text stays readable, everything else is base64', async (t) => {
    const mixed = String(encodeBlock(block('grüße', Buffer.from([0xff, 0x00]), '\x00'.repeat(20))))
    t.match(mixed, '"l":["grüße",["/wA="],["AAAA')
    t.match(String(encodeBlock(block('one', 'two'))), '"l":["one","two"]')
  })
  t.test('progress comes back, and is told from lines', async (t) => {
    const progress = new Map([['a', { stdout: 1, stderr: 2, nextSeq: 3 }]])
    const encoded = encodeProgress(progress, 1).subarray(0, -1)
    t.same(decodeProgress(encoded), progress)
    t.equal(isProgress(encoded), true)
    t.equal(decodeBlock(encoded), undefined)
  })
  t.test('damage is not a record', async (t) => {
    for (const text of ['', 'null', '{"t":1', '[]', '{"t":"1"}']) {
      t.equal(decodeBlock(Buffer.from(text)), undefined)
      t.equal(decodeProgress(Buffer.from(text)).size, 0)
    }
  })
})

t.test('lines read backward are those read forward, in reverse', async (t) => {
  const path = join(t.testdir({}), 'x')
  const cases = ['', '\n', 'a', 'a\n', 'a\nb', '\n\na\n', `${'x'.repeat(300_000)}\n${'y'.repeat(270_000)}\nz\n`]
  for (const text of cases) {
    writeFileSync(path, text)
    const handle = await openLogFile({ path, number: 1, compressed: false })
    if (handle === undefined) throw new Error('not opened')
    const lines: string[] = []
    for await (const { start, bytes } of linesBackward(handle, text.length)) {
      t.equal(text.slice(start, start + bytes.length), String(bytes))
      lines.push(String(bytes))
    }
    await handle.close()
    t.ok(lines.reverse().join('\n') === text.split('\n').slice(0, -1).join('\n'), JSON.stringify(text.slice(0, 20)))
  }
})

t.test('a wake', async (t) => {
  const wake = createWake()
  wake.notify()
  wake.notify()
  await wake.wait()
  let woken = false
  const waiting = wake.wait().then(() => {
    woken = true
  })
  await Promise.resolve()
  t.equal(woken, false, 'two calls before the wait count as one')
  wake.notify()
  await waiting
})

t.test('the store', async (t) => {
  const line = (text: string, endOffset: number, instance = 'i1') =>
    ({ wallMs: 1, instance, pid: 1, stream: 'stdout', endOffset, lines: [text] }) as const
  const open = (directory: string, maxBytes = 8_192, keep = 3) => {
    const log = memoryLog()
    const told: string[] = []
    const clock = new SimClock()
    const seams = {
      ...{ clock, log, onAppend: () => undefined, compressor: { wants: () => undefined } },
      tell: ({ type, details }: Pick<NewEvent, 'type' | 'details'>) =>
        told.push(`${type} ${details['lost'] ?? ''}`.trim()),
    }
    const limits = { maxBytes, keep, maxAgeMs: undefined, compress: false }
    return { log, told, clock, store: new LogStore(seams, { directory, replica: 0, ...limits }) }
  }
  const sizes = (directory: string): number[] =>
    readdirSync(directory).map((name) => statSync(join(directory, name)).size)

  t.test('keeps the newest within its bound, whatever comes', async (t) => {
    for (const keep of [1, 3]) {
      const directory = join(t.testdir({}), `keep-${keep}`)
      const { store } = open(directory, 8_192, keep)
      for (let n = 0; n < 100; n += 1) await store.append([line('x'.repeat(n * 37), n), line('short', n)])
      await store.close()
      t.equal(readdirSync(directory).length, keep)
      t.ok(sizes(directory).every((size) => size <= 8_192))
      const newest = Math.max(...readdirSync(directory).map((name) => Number(name.split('.')[1])))
      t.match(readFileSync(join(directory, `0.${newest}.log`), 'utf8'), /"n":199,/)
    }
  })

  t.test('files beyond a smaller keep go with the next rotation', async (t) => {
    const directory = t.testdir({ '0.1.log.gz': 'old', '0.7.log': 'old\n', '1.7.log': 'of another\n' })
    const { store } = open(directory, 8_192, 2)
    for (let n = 0; n < 40; n += 1) await store.append([line('x'.repeat(500), n)])
    await store.close()
    const left = readdirSync(directory).sort()
    t.same(left.length, 3, 'two, and that of another replica')
    t.notOk(left.includes('0.1.log.gz') || left.includes('0.7.log'))
    t.ok(left.includes('1.7.log'))
  })

  t.test('the longest piece fits into one file together with its head', async (t) => {
    const directory = t.testdir({})
    const { store } = open(directory)
    const binary = Buffer.alloc(store.maxLineBytes, 0xff)
    for (let n = 0; n < 5; n += 1) await store.append([{ ...line('', n), lines: [binary] }])
    await store.close()
    t.ok(
      sizes(directory).every((size) => size <= 8_192),
      String(sizes(directory)),
    )
  })

  t.test('knows after a restart how far each instance is stored', async (t) => {
    const directory = t.testdir({})
    const first = open(directory).store
    await first.append([line('a', 10), { ...line('b', 20), stream: 'stderr' }, line('c', 5, 'i2')])
    await first.close()
    const second = open(directory).store
    t.same(await second.progressOf('i1'), { stdout: 10, stderr: 20, nextSeq: 2 })
    t.same(await second.progressOf('i2'), { stdout: 5, stderr: 0, nextSeq: 1 })
    t.same(await second.progressOf('i3'), { stdout: 0, stderr: 0, nextSeq: 0 })
    await second.append([line('d', 30)])
    await second.close()
    t.same(await open(directory).store.progressOf('i1'), { stdout: 30, stderr: 20, nextSeq: 3 })
  })

  t.test('knows it also when the lines themselves were rotated away', async (t) => {
    const directory = t.testdir({})
    const { store } = open(directory, 8_192, 1)
    await store.append([line('quiet since', 77, 'i2')])
    for (let n = 0; n < 100; n += 1) await store.append([line('x'.repeat(500), n)])
    await store.close()
    t.equal((await open(directory).store.progressOf('i2')).stdout, 77)
  })

  t.test('knows it also when it was killed in the middle of a rotation', async (t) => {
    const directory = t.testdir({})
    const { store } = open(directory)
    await store.append([line('a', 10)])
    await store.close()
    writeFileSync(join(directory, '0.2.log'), '')
    t.equal((await open(directory).store.progressOf('i1')).stdout, 10)
  })

  t.test('an incomplete record at the end counts as not written, and is cut off', async (t) => {
    const directory = t.testdir({})
    const first = open(directory).store
    await first.append([line('a', 10), line('b', 20)])
    await first.close()
    const path = join(directory, '0.1.log')
    const whole = readFileSync(path)
    for (const cut of [1, 5, 30]) {
      writeFileSync(path, whole.subarray(0, whole.length - cut))
      const next = open(directory).store
      t.equal((await next.progressOf('i1')).stdout, 10, `cut by ${cut}`)
      await next.append([line('b', 20)])
      await next.close()
      const lines = readFileSync(path, 'utf8').trim().split('\n')
      t.ok(lines.every((text) => JSON.parse(text) !== undefined))
      t.equal(lines.filter((text) => text.includes('"l":["b"]')).length, 1)
    }
  })

  t.test('what cannot be stored is dropped, counted and reported once; later lines are stored again', async (t) => {
    const directory = join(t.testdir({}), 'unit')
    // In place of a full disk: the directory cannot be made, because a file has its name.
    writeFileSync(directory, '')
    const { store, log, told, clock } = open(directory)
    await store.append([line('a', 1), line('b', 2)])
    await store.append([line('c', 3)])
    rmSync(directory)
    await store.append([line('d', 4)])
    t.strictSame(told, ['unit.logs_lost'], 'a short line may fit where the next will not')
    await clock.advance(2_000)
    await store.append([line('e', 5)])
    t.match(log.entries, [
      { level: 'warn', message: 'output is lost' },
      { level: 'info', message: 'loss of output is over', fields: { lost: 3 } },
    ])
    t.equal(log.entries.length, 2)
    t.strictSame(told, ['unit.logs_lost', 'unit.logs_kept 3'])
    await store.close()
    t.same(await open(directory).store.progressOf('i1'), { stdout: 5, stderr: 0, nextSeq: 5 })
  })

  t.test('how much was lost is told at the end too, when nothing more is written', async (t) => {
    const directory = join(t.testdir({}), 'unit')
    writeFileSync(directory, '')
    const { store, told } = open(directory)
    await store.append([line('a', 1), line('b', 2)])
    await store.close()
    await store.close()
    t.strictSame(told, ['unit.logs_lost', 'unit.logs_kept 2'])
  })
})

t.test('output', async (t) => {
  const everything: LogQuery = {
    units: [],
    follow: false,
    tail: undefined,
    sinceMs: undefined,
    stream: undefined,
    grep: undefined,
  }
  const setUp = (t: Test, unit = 'api', instance = 'api-0-aa') => {
    const dir = t.testdir({ run: {} })
    return { dir, ...openOutput(t, dir), source: sourceOf(dir, unit, 0, instance) }
  }
  const openOutput = (t: Test, dir: string) => {
    const clock = new SimClock()
    const log = memoryLog()
    const run = async () => ({ exit: { code: 1 }, stdout: '' })
    const output = createOutput({ clock, log, run }, { logDir: join(dir, 'log') })
    t.teardown(() => output.close())
    return { clock, log, output }
  }
  const sourceOf = (dir: string, unit: string, replica: number, instance: string): CaptureSource => {
    const raw = join(dir, 'run', instance)
    mkdirSync(raw, { recursive: true })
    return {
      unit,
      replica,
      instance,
      stdoutPath: join(raw, 'stdout'),
      stderrPath: join(raw, 'stderr'),
      pid: 1,
      ...KEEP_EVERYTHING,
      maxBytes: 64 * 1024,
      keep: 3,
    }
  }
  const all = async (output: Output, query: Partial<LogQuery> = {}): Promise<LogLine[]> => {
    const lines: LogLine[] = []
    for await (const each of output.query({ ...everything, ...query }, never)) lines.push(each)
    return lines
  }
  const texts = (lines: readonly LogLine[]): string[] => lines.map(({ line }) => Buffer.from(line).toString())
  /** Lets the capture look again until the log holds `count` lines. */
  const stored = (clock: SimClock, output: Output, count: number): Promise<LogLine[]> =>
    until(`${count} lines are stored`, async () => {
      await clock.advance(10_000)
      const lines = await all(output)
      return lines.length >= count && lines
    })

  t.test('takes what is there and what comes, and the unfinished line at the end only', async (t) => {
    const { clock, output, source } = setUp(t)
    appendFileSync(source.stdoutPath, 'one\r\ntwo\nunfi')
    const capture = output.capture(source)
    t.same(texts(await stored(clock, output, 2)), ['one', 'two'])
    appendFileSync(source.stdoutPath, 'nished')
    appendFileSync(source.stderrPath, 'oops\n')
    t.same(texts(await stored(clock, output, 3)), ['one', 'two', 'oops'])
    await capture.finish()
    const lines = await all(output)
    t.same(texts(lines), ['one', 'two', 'oops', 'unfinished'])
    t.same(
      lines.map(({ seq, stream }) => `${seq} ${stream}`),
      ['0 stdout', '1 stdout', '2 stderr', '3 stdout'],
    )
    t.ok(lines.every(({ wallMs }) => wallMs >= 1_700_000_000_000 && Number.isInteger(wallMs)))
    t.match(lines[0], { unit: 'api', replica: 0, instance: 'api-0-aa' })
    t.equal(clock.sleeping, 0)
  })

  t.test('another node goes on where this one stopped, wherever that was', async (t) => {
    const { dir, clock, output, source } = setUp(t)
    appendFileSync(source.stdoutPath, 'one\ntwo\nthr')
    const capture = output.capture(source)
    await stored(clock, output, 2)
    await capture.close()
    appendFileSync(source.stdoutPath, 'ee\nfour\n')
    const next = openOutput(t, dir)
    await next.output.capture(source).finish()
    t.same(texts(await all(next.output)), ['one', 'two', 'three', 'four'])
    const third = openOutput(t, dir)
    await third.output.capture(source).finish()
    t.same(texts(await all(third.output)), ['one', 'two', 'three', 'four'], 'nothing is taken twice')
  })

  t.test('a node killed while it writes, at whatever byte, loses and repeats nothing', async (t) => {
    const { dir, output, source } = setUp(t)
    const out = Array.from({ length: 12 }, (_, n) => `out ${n} ${'é'.repeat(n)}`)
    const err = Array.from({ length: 5 }, (_, n) => `err ${n}`)
    writeFileSync(source.stdoutPath, out.join('\n'))
    writeFileSync(source.stderrPath, `${err.join('\r\n')}\r\n`)
    await output.capture(source).finish()
    const path = join(dir, 'log', 'api', '0.1.log')
    const whole = readFileSync(path)
    for (let length = 0; length <= whole.length; length += 7) {
      writeFileSync(path, whole.subarray(0, length))
      const next = createOutput(
        { clock: new SimClock(), log: memoryLog(), run: async () => ({ exit: { code: 1 }, stdout: '' }) },
        { logDir: join(dir, 'log') },
      )
      await next.capture(source).finish()
      const lines = await all(next)
      const of = (stream: string): string[] => texts(lines.filter((line) => line.stream === stream))
      t.strictSame([of('stdout'), of('stderr')], [out, err], `killed after ${length} bytes`)
      t.ok(lines.every(({ seq }, index) => seq === index))
    }
  })

  t.test('finish in the middle of a rest does not wait for it', async (t) => {
    const { output, source } = setUp(t)
    const capture = output.capture(source)
    appendFileSync(source.stdoutPath, 'last words')
    await Promise.all([capture.finish(), capture.finish()])
    t.same(texts(await all(output)), ['last words'])
  })

  t.test('files that do not exist are empty output', async (t) => {
    const { output, source } = setUp(t)
    rmSync(join(source.stdoutPath, '..'), { recursive: true })
    await output.capture(source).finish()
    t.same(await all(output), [])
  })

  t.test('a raw file that somebody cut is read from its start', async (t) => {
    const { clock, log, output, source } = setUp(t)
    appendFileSync(source.stdoutPath, 'before\n')
    const capture = output.capture(source)
    await stored(clock, output, 1)
    writeFileSync(source.stdoutPath, 'x\n')
    await stored(clock, output, 2)
    await capture.finish()
    t.same(texts(await all(output)), ['before', 'x'])
    t.match(log.entries, [{ level: 'warn' }])
  })

  t.test('queries', async (t) => {
    const { dir, clock, output } = setUp(t)
    const write = async (unit: string, replica: number, ...lines: string[]): Promise<void> => {
      const source = sourceOf(dir, unit, replica, `${unit}-${replica}-aa`)
      writeFileSync(
        source.stdoutPath,
        lines
          .filter((text) => !text.startsWith('!'))
          .map((text) => `${text}\n`)
          .join(''),
        { flag: 'a' },
      )
      writeFileSync(
        source.stderrPath,
        lines
          .filter((text) => text.startsWith('!'))
          .map((text) => `${text}\n`)
          .join(''),
        { flag: 'a' },
      )
      await output.capture(source).finish()
      await clock.advance(1_000)
    }
    await write('api', 0, 'a0', '!a1')
    await write('db', 0, 'd2')
    await write('api', 1, 'a3')
    await write('api', 0, 'a4')
    const start = 1_700_000_000_000

    t.same(texts(await all(output)), ['a0', '!a1', 'd2', 'a3', 'a4'], 'merged by time')
    t.same(texts(await all(output, { units: ['api'] })), ['a0', '!a1', 'a3', 'a4'])
    t.same(texts(await all(output, { units: ['nobody', '../log/db', 'db'] })), ['d2'])
    t.same(texts(await all(output, { tail: 2 })), ['a3', 'a4'], 'the last of all together')
    t.same(texts(await all(output, { tail: 0 })), [])
    t.same(texts(await all(output, { tail: 99 })).length, 5)
    t.same(texts(await all(output, { sinceMs: start + 1_000 })), ['d2', 'a3', 'a4'])
    t.same(texts(await all(output, { sinceMs: start + 1_000, tail: 1 })), ['a4'])
    t.same(texts(await all(output, { stream: 'stderr' })), ['!a1'])
    t.same(texts(await all(output, { grep: /[03]/g })), ['a0', 'a3'])
    t.same(texts(await all(output, { grep: /^a/, tail: 2 })), ['a3', 'a4'])
  })

  t.test('a few last lines are found without reading everything', async (t) => {
    const { dir, output, source } = setUp(t)
    const lines = Array.from({ length: 3_000 }, (_, n) => `line ${n} ${'.'.repeat(80)}`)
    writeFileSync(source.stdoutPath, `${lines.join('\n')}\n`)
    await output.capture(source).finish()
    // Were it opened, this would fail.
    const [oldest = ''] = readdirSync(join(dir, 'log', 'api')).sort()
    rmSync(join(dir, 'log', 'api', oldest))
    mkdirSync(join(dir, 'log', 'api', oldest))
    t.same(texts(await all(output, { tail: 3 })), lines.slice(-3))
  })

  t.test('following', async (t) => {
    const follow = (output: Output, query: Partial<LogQuery>) => {
      const stop = new AbortController()
      const seen: string[] = []
      const ended = (async () => {
        for await (const { line } of output.query({ ...everything, follow: true, ...query }, stop.signal)) {
          seen.push(Buffer.from(line).toString())
        }
      })()
      return { seen, stop, ended }
    }

    t.test('gives what is there, then what comes, of units that come later too', async (t) => {
      const { dir, clock, output, source } = setUp(t)
      appendFileSync(source.stdoutPath, 'old 1\nold 2\n')
      await output.capture(source).finish()
      const { seen, stop, ended } = follow(output, { tail: 1 })
      await until('the old', () => seen.length === 1)
      const other = sourceOf(dir, 'db', 3, 'db-3-aa')
      appendFileSync(other.stdoutPath, 'new 1\n')
      await output.capture(other).finish()
      await until('the new', () => seen.length === 2)
      appendFileSync(source.stdoutPath, 'new 2\n')
      const capture = output.capture(source)
      await until('the newer', () => seen.length === 3)
      t.same(seen, ['old 2', 'new 1', 'new 2'])
      stop.abort()
      await ended
      await capture.close()
      t.equal(clock.sleeping, 0)
    })

    t.test('only units that were asked for', async (t) => {
      const { dir, output, source } = setUp(t)
      const { seen, stop, ended } = follow(output, { units: ['db'] })
      appendFileSync(source.stdoutPath, 'api\n')
      await output.capture(source).finish()
      const other = sourceOf(dir, 'db', 0, 'db-0-aa')
      appendFileSync(other.stdoutPath, 'db\n')
      await output.capture(other).finish()
      await until('the line', () => seen.length === 1)
      t.same(seen, ['db'])
      stop.abort()
      await ended
    })

    t.test('a follower through rotation misses and repeats nothing', async (t) => {
      const { clock, output, source } = setUp(t)
      const capture = output.capture({ ...source, maxBytes: 8_192, keep: 50 })
      const { seen, stop, ended } = follow(output, {})
      const expected: string[] = []
      for (let n = 0; n < 40; n += 1) {
        const lines = Array.from({ length: 50 }, (_, k) => `${n}.${k}`)
        expected.push(...lines)
        appendFileSync(source.stdoutPath, `${lines.join('\n')}\n`)
        await until('the batch', async () => {
          await clock.advance(10_000)
          return seen.length >= (n % 7 === 0 ? expected.length : 0)
        })
      }
      await capture.finish()
      await until('the rest', () => seen.length >= expected.length)
      t.strictSame(seen, expected)
      stop.abort()
      await ended
    })

    t.test('ends at once when it was aborted before', async (t) => {
      const { output } = setUp(t)
      const gone = new AbortController()
      gone.abort()
      for await (const line of output.query({ ...everything, follow: true }, gone.signal)) t.fail(`a line: ${line.seq}`)
    })
  })
})
