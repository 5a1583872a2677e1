import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/system-clock.ts'
import { systemRandom } from '../../../src/base/system-random.ts'
import type { NewEvent } from '../../../src/process/causes.ts'
import { forward } from '../../../src/process/config/forward.ts'
import { createSink } from '../../../src/process/logs/forward/create-sink.ts'
import { type Destination, destinationOf, SendError, type Sink } from '../../../src/process/logs/forward/destination.ts'
import { Forwarder } from '../../../src/process/logs/forward/forwarder.ts'
import { createForwarders } from '../../../src/process/logs/forward/forwarders.ts'
import { otlpBody } from '../../../src/process/logs/forward/otlp-format.ts'
import { Position } from '../../../src/process/logs/forward/position.ts'
import { Sender } from '../../../src/process/logs/forward/sender.ts'
import { frame, syslogMessage } from '../../../src/process/logs/forward/syslog-format.ts'
import type { LogLine } from '../../../src/process/logs/query.ts'
import { LogMachine } from '../../support/log-machine.ts'
import { collector, SyslogServer, udpServer } from '../../support/log-receivers.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { numbered } from '../../support/numbered.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { unitSpec } from '../../support/unit-spec.ts'
import { until } from '../../support/until.ts'

const LINE: LogLine = {
  ...{ wallMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6), unit: 'api', instance: 'api-0-ab', replica: 0, pid: 42, seq: 7 },
  ...{ stream: 'stderr', line: Buffer.from('it broke'), level: 'error', message: undefined },
}
const textLine = (text: string, seq = 0): LogLine => ({ ...LINE, line: Buffer.from(text), seq })
const never = new AbortController().signal
const parsed = (raw: object): Destination => destinationOf(forward.parse([raw])[0] as never)

t.test('a syslog message', async (t) => {
  const terms = { hostname: 'edge-a', facility: 3, maxBytes: 1_000 }
  const head = '<27>1 2026-01-02T03:04:05.006Z edge-a api 42 stderr [hsu@32473 instance="api-0-ab" seq="7"] '

  t.test('says where a line is from, and how severe', async (t) => {
    t.equal(syslogMessage(LINE, terms).toString(), `${head}it broke`)
    const plain = { ...LINE, level: undefined, pid: undefined, unit: 'u'.repeat(63) }
    const name = 'u'.repeat(48)
    t.match(syslogMessage(plain, terms).toString(), `<30>1 2026-01-02T03:04:05.006Z edge-a ${name} - stderr`)
  })

  t.test('is cut between two characters', async (t) => {
    const message = syslogMessage(textLine('ä€😀', 7), { ...terms, maxBytes: head.length + 7 }).toString()
    t.equal(message, `${head}ä€`)
  })

  t.test('keeps bytes that are no text', async (t) => {
    const message = syslogMessage({ ...LINE, line: Buffer.from([0xff, 0, 0x80]) }, terms)
    t.same([...message.subarray(-3)], [0xff, 0, 0x80])
  })

  t.test('has its length before it, or a line end behind it', async (t) => {
    const messages = ['ä', 'bc'].map((text) => Buffer.from(text))
    t.equal(frame(messages, 'octets').toString(), '2 ä2 bc')
    t.equal(frame(messages, 'lines').toString(), 'ä\nbc\n')
  })
})

t.test('an OTLP request has a resource for each instance', async (t) => {
  const other = { ...textLine('{"a":1}'), instance: 'api-0-cd', level: undefined, pid: undefined }
  const binary = { ...LINE, line: Buffer.from([0xff]), seq: 8 }
  const body = JSON.parse(otlpBody([LINE, other, binary], { node: 'edge-a', version: '1' })) as unknown
  const time = '1767323045006000000'
  t.match(body, {
    resourceLogs: [
      {
        resource: {
          attributes: [
            { key: 'service.name', value: { stringValue: 'api' } },
            { key: 'service.instance.id', value: { stringValue: 'api-0-ab' } },
            { key: 'host.name', value: { stringValue: 'edge-a' } },
            { key: 'process.pid', value: { intValue: '42' } },
          ],
        },
        scopeLogs: [
          {
            scope: { name: 'hsu', version: '1' },
            logRecords: [
              {
                ...{ timeUnixNano: time, observedTimeUnixNano: time, severityNumber: 17, severityText: 'ERROR' },
                body: { stringValue: 'it broke' },
                attributes: [
                  { key: 'log.iostream', value: { stringValue: 'stderr' } },
                  { key: 'hsu.seq', value: { intValue: '7' } },
                ],
              },
              { body: { bytesValue: '/w==' } },
            ],
          },
        ],
      },
      { scopeLogs: [{ logRecords: [{ body: { stringValue: '{"a":1}' } }] }] },
    ],
  })
})

t.test('the configuration of a destination', async (t) => {
  const faults = (...all: object[]): string[] =>
    (forward.safeParse(all).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
  t.same(faults({}), ['0: must have exactly one of syslog, otlp'])
  t.same(faults({ syslog: 'udp://h:514', framing: 'lines' }), [
    '0.framing: is for tcp and unix: over udp each message is a datagram',
  ])
  t.same(faults({ otlp: 'http://h:4318', facility: 'mail' }), ['0.facility: is for syslog'])
  t.same(faults({ syslog: 'tcp://h:1', headers: { a: 'b' } }), ['0.headers: is for otlp'])
  t.same(faults({ syslog: 'udp://h:1', max_message: '1MiB' }), ['0.max_message: must be at most 65000B over udp'])
  t.same(faults({ otlp: 'http://h' }, { otlp: 'http://h' }), ["1: 'http://h' is there twice"])
  t.match(faults({ syslog: 'h:514' }).join(), /udp:\/\/HOST:PORT/)
  t.match(faults({ otlp: 'ftp://h' }).join(), /http or https URL/)

  t.match(parsed({ syslog: 'tcp://[::1]:514', facility: 'local3' }), {
    ...{ kind: 'syslog', transport: { type: 'tcp', host: '::1', port: 514 }, facility: 19 },
    ...{ framing: 'octets', maxMessageBytes: 8_192 },
  })
  t.match(parsed({ syslog: 'unix:/run/log' }), { transport: { type: 'unix', path: '/run/log' } })
  t.match(parsed({ syslog: 'unix:///run/log' }), { transport: { type: 'unix', path: '/run/log' } })
  t.match(parsed({ otlp: 'http://h:4318/' }), { url: 'http://h:4318/v1/logs', headers: {} })
  t.match(parsed({ otlp: 'http://h/otel/v1/logs' }), { url: 'http://h/otel/v1/logs' })
})

t.test('ways to a destination', async (t) => {
  const sinkTo = (t: Test, raw: object): Sink => {
    const sink = createSink(parsed(raw), 'edge-a')
    t.teardown(() => sink.close())
    return sink
  }
  const lines = numbered('n', 5).map(textLine)
  const texts = numbered('n', 5)

  t.test('tcp, again after the server was gone', async (t) => {
    const first = new SyslogServer(t)
    const port = await first.listen()
    const sink = sinkTo(t, { syslog: `tcp://127.0.0.1:${port}` })
    await sink.send(lines, never)
    await until('the lines', () => first.texts.length === 5)
    t.same(first.texts, texts)
    await first.stop()
    await until('the loss to be noticed', () =>
      sink.send(lines, never).then(
        () => undefined,
        () => true,
      ),
    )
    await t.rejects(sink.send(lines, never), { code: 'ECONNREFUSED' })
    const second = new SyslogServer(t)
    await second.listen(port)
    await sink.send(lines, never)
    await until('the lines', () => second.texts.length === 5)
    t.equal(second.connections, 1)
  })

  t.test('a unix socket', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hsu-syslog-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const server = new SyslogServer(t)
    await server.listen(join(directory, 'log'))
    await sinkTo(t, { syslog: `unix:${join(directory, 'log')}` }).send(lines, never)
    await until('the lines', () => server.texts.length === 5)
    t.same(server.texts, texts)
  })

  t.test('udp, tried again while nobody listens', async (t) => {
    const { port, messages } = await udpServer(t)
    const sink = sinkTo(t, { syslog: `udp://localhost:${port}` })
    await sink.send(lines, never)
    await until('the lines', () => messages.length === 5)
    t.match(messages[0], /^<11>1 .* n 0$/)
    const gone = sinkTo(t, { syslog: 'udp://127.0.0.1:9' })
    await until('the host to say so', () =>
      gone.send(lines.slice(0, 1), never).then(
        () => undefined,
        () => true,
      ),
    )
  })

  t.test('a server that accepts and never reads is waited for, not drowned', async (t) => {
    const server = new SyslogServer(t, { reads: false })
    const sink = sinkTo(t, { syslog: `tcp://127.0.0.1:${await server.listen()}`, max_message: '1MiB' })
    const big = [textLine('x'.repeat(500_000))]
    const end = new AbortController()
    let sent = 0
    const filling = (async () => {
      for (; sent < 200; sent += 1) await sink.send(big, end.signal)
    })()
    await until('a first part to be in the buffers', () => sent > 0)
    let before = -1
    await until('it to stand', () => {
      const stands = before === sent
      before = sent
      return stands
    })
    end.abort(new Error('enough'))
    await t.rejects(filling, { message: 'enough' })
    t.ok(sent < 200)
  })

  t.test('otlp', async (t) => {
    const partly = '{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'
    const answers = [
      ...[{ status: 200 }, { status: 200, body: partly }, { status: 503, headers: { 'retry-after': '7' } }],
      ...[{ status: 401 }, { status: 400, body: 'bad' }],
    ]
    const { url, requests, taken } = await collector(t, answers)
    const sink = sinkTo(t, { otlp: url, headers: { authorization: 'Bearer x' } })
    t.equal(await sink.send(lines, never), undefined)
    t.same(taken(), texts)
    t.match(requests[0], {
      url: '/v1/logs',
      headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
    })
    t.same(await sink.send(lines, never), { lines: 2, why: 'too old' })
    const busy = await sink.send(lines, never).catch((error: unknown) => error)
    t.ok(busy instanceof SendError && busy.afterMs === 7_000)
    await t.rejects(sink.send(lines, never), { message: 'HTTP 401' })
    t.same(await sink.send(lines, never), { lines: 5, why: 'HTTP 400: bad' })
  })
})

/** A destination that takes lines when it is told to. */
class FakeSink implements Sink {
  readonly timeoutMs = 10_000
  readonly taken: string[] = []
  mode: 'takes' | 'fails' | 'hangs' | 'refuses' = 'takes'
  tries = 0
  gate: Promise<void> = Promise.resolve()

  async send(lines: readonly LogLine[], signal: AbortSignal) {
    this.tries += 1
    await this.gate
    if (this.mode === 'fails') throw new Error('not here')
    if (this.mode === 'hangs') {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    }
    if (this.mode === 'refuses') return { lines: lines.length, why: 'bad' }
    this.taken.push(...lines.map(({ line }) => Buffer.from(line).toString()))
    return undefined
  }

  close(): void {
    // It holds nothing.
  }
}

t.test('the sender tries again with growing rests, and tells once', async (t) => {
  const clock = new SimClock()
  const log = memoryLog()
  const sink = new FakeSink()
  const sender = new Sender({ clock, random: seeded(1), log }, sink)
  const patience = { stop: never, now: never }
  sink.mode = 'fails'
  const sent = sender.send([textLine('a')], patience)
  const second = sender.send([textLine('b')], patience)
  await clock.advance(600_000)
  t.ok(sink.tries > 15 && sink.tries < 40, `${sink.tries} tries in ten minutes`)
  sink.mode = 'hangs'
  await clock.advance(60_000)
  sink.mode = 'takes'
  await clock.advance(60_000)
  await Promise.all([sent, second])
  t.same(sink.taken, ['a', 'b'], 'in turn')
  t.match(log.entries, [
    { level: 'warn', fields: { cause: 'not here' } },
    { level: 'info', message: 'lines are forwarded again' },
  ])
  t.equal(log.entries.length, 2)
  t.equal(clock.sleeping, 0)
})

t.test('a forwarder', async (t) => {
  const setUp = (t: Test) => {
    const machine = new LogMachine(t)
    const disk = new Map<string, Uint8Array>()
    const told: NewEvent[] = []
    const { clock, log, output } = machine
    const start = async (sink: FakeSink) => {
      const stop = new AbortController()
      const position = await Position.load({ clock, log, store: simStore(disk) }, 'log-forward/x', clock.wallMs())
      const sender = new Sender({ clock, random: seeded(1), log }, sink)
      const seams = { clock, log, output, sender, position, tell: (event: NewEvent) => void told.push(event) }
      const ended = new Forwarder(seams, 'api', 'tcp://there').run(stop.signal)
      const end = async (afterMs = 0): Promise<void> => {
        stop.abort()
        await clock.advance(afterMs)
        await ended
      }
      return { end }
    }
    return { machine, told, start }
  }

  t.test('sends what is written since it began, across a restart each line once', async (t) => {
    const { machine, start } = setUp(t)
    await machine.write(machine.source(), 'before\n')
    await machine.clock.advance(1_000)
    const first = new FakeSink()
    const { end } = await start(first)
    await machine.write(machine.source(), 'one\n')
    await until('the first', () => first.taken.length === 1)
    await end()
    await machine.write(machine.source(), 'two\nthree\n')
    const second = new FakeSink()
    const again = await start(second)
    await until('the others', () => second.taken.length === 2)
    await machine.write(machine.source({ instance: 'api-0-bb' }), 'four\n')
    await until('that of a new instance', () => second.taken.length === 3)
    await again.end()
    t.same([...first.taken, ...second.taken], ['one', 'two', 'three', 'four'])
  })

  t.test('sends the last lines when it ends', async (t) => {
    const { machine, start } = setUp(t)
    const sink = new FakeSink()
    const { end } = await start(sink)
    let release = (): void => undefined
    sink.gate = new Promise((resolve) => {
      release = resolve
    })
    await machine.write(machine.source(), 'first\n')
    await until('the first to be on its way', () => sink.tries === 1)
    await machine.write(machine.source(), 'last\n')
    const ended = end()
    release()
    await ended
    t.same(sink.taken, ['first', 'last'])
  })

  t.test('counts what rotation deleted while the destination was away, and costs the log nothing', async (t) => {
    const { machine, told, start } = setUp(t)
    const source = machine.source({ maxBytes: 8_192, keep: 2 })
    const sink = new FakeSink()
    sink.mode = 'fails'
    const { end } = await start(sink)
    const lines = numbered('line', 3_000, ' with some more text')
    for (let n = 0; n < 3_000; n += 250) await machine.write(source, `${lines.slice(n, n + 250).join('\n')}\n`)
    sink.mode = 'takes'
    await machine.clock.advance(60_000)
    await until('the newest line', () => sink.taken.at(-1) === lines.at(-1))
    await end()
    t.ok(sink.taken.length < 3_000)
    t.same(
      sink.taken,
      lines.filter((line) => sink.taken.includes(line)),
      'in order, each once',
    )
    const lost = told.reduce((sum, { details }) => sum + Number(details['lost']), 0)
    t.equal(lost, 3_000 - sink.taken.length)
    t.match(told[0], { unit: 'api', type: 'unit.logs_lost', details: { destination: 'tcp://there' } })
  })

  t.test('tells of what is refused once a minute', async (t) => {
    const { machine, told, start } = setUp(t)
    const sink = new FakeSink()
    sink.mode = 'refuses'
    const { end } = await start(sink)
    for (const text of ['a', 'b', 'c']) {
      const { tries } = sink
      await machine.write(machine.source(), `${text}\n`)
      await until('it to be tried', () => sink.tries > tries)
    }
    await end()
    t.same(
      told.map(({ details }) => details['lost']),
      ['1', '2'],
    )
    t.match(told[0]?.reason, /refused: bad/)
  })

  t.test('does not keep a node from ending while the destination is away', async (t) => {
    for (const mode of ['fails', 'hangs'] as const) {
      const { machine, start } = setUp(t)
      const sink = new FakeSink()
      sink.mode = mode
      const { end } = await start(sink)
      await machine.write(machine.source(), 'kept\n')
      await until('a try', () => sink.tries > 0)
      await end(2_000)
      const later = new FakeSink()
      const again = await start(later)
      await until('the line', () => later.taken.length === 1)
      await again.end()
      t.same(later.taken, ['kept'], `one that ${mode}: the next node sends it`)
    }
  })
})

t.test('forwarders follow the configuration', async (t) => {
  const machine = new LogMachine(t)
  const first = new SyslogServer(t)
  const second = await collector(t)
  const syslog = { syslog: `tcp://127.0.0.1:${await first.listen()}` }
  const disk = new Map<string, Uint8Array>()
  const { log, output } = machine
  const seams = { clock: systemClock, random: systemRandom, log, store: simStore(disk), output }
  const forwarders = createForwarders({ ...seams, tell: () => undefined })
  t.teardown(() => forwarders.stop())
  const specs = (...to: object[]) => [
    ...['api', 'db'].map((name) => unitSpec(name, { run: ['x'], logs: { forward: to } })),
  ]
  const write = (unit: string, text: string) => machine.write(machine.source({ unit }), `${text}\n`)
  // The log's clock stands in the past; lines of the past are not sent.
  machine.clock.setWall(Date.now() + 1_000)

  forwarders.begin(specs(syslog))
  forwarders.retain(specs(syslog))
  await until('the positions', () => disk.size === 2)
  await write('api', 'a1')
  await write('db', 'd1')
  await until('both', () => first.texts.length === 2)
  t.equal(first.connections, 1, 'units share the way')

  const changed = specs({ ...syslog, facility: 'local0' }, { otlp: second.url })
  forwarders.begin(changed)
  forwarders.retain(changed)
  await write('api', 'a2')
  await until('the line by both', () => first.texts.includes('a2') && second.taken().includes('a2'))
  t.same(
    first.texts.filter((text) => text.startsWith('a')),
    ['a1', 'a2'],
    'other terms do not begin anew',
  )

  forwarders.begin([])
  forwarders.retain([])
  await until('what is no more configured to be forgotten', () => disk.size === 0)
  await forwarders.stop()
  t.equal(first.texts.length, 3)
})
