import { randomBytes } from 'node:crypto'
import type { ServerHttp2Stream } from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from '../../src/rpc/h2/protocol.ts'
import { CallMetrics } from '../../src/rpc/router/call-metrics.ts'
import { framed, grpcClient, rawBackend, respondGrpc, startIngress } from '../support/call-rig.ts'
import { echoAt, literalWorld } from '../support/literal-world.ts'
import { memoryLog } from '../support/memory-log.ts'
import { block, callBlock, frame, RawClient, reset, settings, windowUpdate } from '../support/raw-frames.ts'
import { until } from '../support/until.ts'

const HELLO = framed(Buffer.from('hello'))
const INSTANCE = 'echo-0-aaaaaa'

/** Answers for as long as somebody takes it. */
function flood(stream: ServerHttp2Stream): void {
  const chunk = framed(Buffer.alloc(60_000))
  const more = (): void => {
    while (!stream.closed && stream.write(chunk));
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
  stream.on('drain', more)
  more()
}

/** An ingress before a unit that answers at once, save for what hangs, and a call that is open all the time. */
async function rig(t: Test, clock = systemClock) {
  const backend = await rawBackend(
    t,
    (stream, headers) => {
      stream.resume()
      const path = String(headers[':path'])
      if (path.endsWith('Hang')) return
      if (path.endsWith('Flood')) flood(stream)
      else respondGrpc(stream, [HELLO])
    },
    { settings: { maxConcurrentStreams: 10_000 } },
  )
  const log = memoryLog()
  const metrics = new CallMetrics()
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { log, clock, metrics })
  const faults = (): Record<string, number> =>
    Object.fromEntries(metrics.faults.rows().map(({ ends, reason, count }) => [`${ends} ${reason}`, count]))
  const good = grpcClient(t, ingress.address())
  const address = ingress.address()
  const fine = async (): Promise<void> => {
    const { status: ended } = await good.call('Unary', [Buffer.from('x')])
    t.equal(ended.code, status.OK, 'calls of others go on')
    t.ok(backend.sessions.size <= 2, 'over the connections to the unit that there were')
  }
  await fine()
  return { ingress, backend, log, fine, address, faults }
}

t.test('what ends a connection, with its code, and nothing else', async (t) => {
  const { address, fine, faults } = await rig(t)
  const opened = frame(FrameType.headers, Flag.endHeaders, 1, callBlock('Hang'))
  const flood = (one: Buffer, count = 5_000): Buffer[] => [Buffer.concat(Array.from({ length: count }, () => one))]
  const cases: Readonly<Record<string, [code: number, frames: Buffer[]]>> = {
    'a frame longer than we allow': [ErrorCode.frameSize, [frame(FrameType.data, 0, 1, Buffer.alloc(16_385))]],
    'DATA on a stream that is not open': [ErrorCode.protocol, [frame(FrameType.data, 0, 1, HELLO)]],
    'padding longer than its frame': [
      ErrorCode.protocol,
      [opened, frame(FrameType.data, Flag.padded, 1, Buffer.of(9, 1))],
    ],
    'an even stream': [ErrorCode.protocol, [frame(FrameType.headers, Flag.endHeaders, 2, callBlock())]],
    'a block that makes no sense': [
      ErrorCode.compression,
      [frame(FrameType.headers, 5, 1, Buffer.of(0xff, 0xff, 0xff))],
    ],
    'Huffman codes that make no sense': [
      ErrorCode.compression,
      [frame(FrameType.headers, 5, 1, Buffer.of(0x00, 0x01, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff))],
    ],
    'a window that is too large': [ErrorCode.flowControl, [windowUpdate(0, 0x7fff_ffff)]],
    'a window that grows by nothing': [ErrorCode.protocol, [windowUpdate(0, 0)]],
    'settings that are wrong': [ErrorCode.flowControl, [settings([Setting.initialWindowSize, 0x8000_0000])]],
    'an interrupted header block': [
      ErrorCode.protocol,
      [frame(FrameType.headers, 0, 1, callBlock()), frame(FrameType.ping, 0, 0, Buffer.alloc(8))],
    ],
    'a push': [ErrorCode.protocol, [frame(FrameType.pushPromise, 4, 1, Buffer.alloc(8))]],
    'a flood of CONTINUATION': [
      ErrorCode.enhanceYourCalm,
      [frame(FrameType.headers, 0, 1, callBlock()), ...flood(frame(FrameType.continuation, 0, 1), 200)],
    ],
    'a header block without end': [
      ErrorCode.enhanceYourCalm,
      [
        frame(FrameType.headers, 0, 1, callBlock()),
        ...flood(frame(FrameType.continuation, 0, 1, Buffer.alloc(16_000, 0x82)), 10),
      ],
    ],
    'a flood of SETTINGS': [ErrorCode.enhanceYourCalm, flood(settings())],
    'a flood of PING': [ErrorCode.enhanceYourCalm, flood(frame(FrameType.ping, 0, 0, Buffer.alloc(8)))],
    'a flood of PRIORITY': [ErrorCode.enhanceYourCalm, flood(frame(FrameType.priority, 0, 1, Buffer.alloc(5)))],
    'a flood of empty DATA': [ErrorCode.enhanceYourCalm, [opened, ...flood(frame(FrameType.data, 0, 1))]],
    'a flood of WINDOW_UPDATE': [ErrorCode.enhanceYourCalm, [opened, ...flood(windowUpdate(1, 1))]],
    'a flood of frames that nobody knows': [ErrorCode.enhanceYourCalm, flood(frame(0x42, 0, 0, Buffer.alloc(3)))],
  }
  for (const [what, [code, frames]] of Object.entries(cases)) {
    const client = new RawClient(t, address)
    client.send(...frames)
    t.equal(await client.ended(), code, what)
  }
  const stranger = new RawClient(t, address, Buffer.from('GET / HTTP/1.1\r\n\r\n'))
  await stranger.ended()
  t.same(
    faults(),
    {
      'connection compression': 2,
      'connection continuation_flood': 2,
      'connection data_flood': 1,
      'connection flow_control': 2,
      'connection frame_size': 1,
      'connection not_http2': 1,
      'connection ping_flood': 1,
      'connection priority_flood': 1,
      'connection protocol': 6,
      'connection settings_flood': 1,
      'connection unknown_frame_flood': 1,
      'connection window_update_flood': 1,
    },
    'each is counted by what it was',
  )
  await fine()
})

t.test('what ends a stream and leaves its connection', async (t) => {
  const { address, fine, ingress, faults } = await rig(t)
  const client = new RawClient(t, address)
  let id = -1
  const open = (bytes: Buffer, flags: number = Flag.endHeaders): number => {
    client.send(frame(FrameType.headers, flags, (id += 2), bytes))
    return id
  }
  const call = [
    ':method=POST',
    ':scheme=http',
    ':path=/echo.Echo/Hang',
    ':authority=x',
    'content-type=application/grpc',
  ]
  const malformed: Readonly<Record<string, readonly string[]>> = {
    'a name in capitals': [...call, 'Upper=1'],
    'a field of the connection': [...call, 'connection=close'],
    'te that is not trailers': [...call, 'te=gzip'],
    'no path': call.filter((text) => !text.startsWith(':path')),
    'two paths': [...call.slice(0, 3), ':path=/echo.Echo/Hang'],
    'a pseudo-header field that comes late': [...call, ':scheme=http'],
    'a response in a request': [...call, ':status=200'],
    'a length that is none': [...call, 'content-length=x'],
    'a line break in a value': [...call, 'x=a\r\nb'],
  }
  for (const [what, texts] of Object.entries(malformed)) {
    const last = (await client.stream(open(block(texts)))).at(-1)
    t.match(last, { type: FrameType.reset, payload: Buffer.of(0, 0, 0, ErrorCode.protocol) }, what)
  }

  const short = open(block([...call, 'content-length=100']))
  client.send(frame(FrameType.data, Flag.endStream, short, HELLO))
  t.match((await client.stream(short)).at(-1), { type: FrameType.reset }, 'fewer bytes than were told')

  const late = open(callBlock('Hang'))
  client.send(frame(FrameType.data, Flag.endStream, late, HELLO), frame(FrameType.data, 0, late, HELLO))
  t.match(
    (await client.stream(late)).at(-1),
    { type: FrameType.reset, payload: Buffer.of(0, 0, 0, ErrorCode.streamClosed) },
    'DATA after the end',
  )

  const wide = open(callBlock('Hang'))
  client.send(windowUpdate(wide, 0x7fff_ffff))
  t.match(
    (await client.stream(wide)).at(-1),
    { type: FrameType.reset, payload: Buffer.of(0, 0, 0, ErrorCode.flowControl) },
    'a window that is too large',
  )
  t.notOk(client.closed)
  t.same(faults(), { 'call malformed_request': 9, 'call protocol': 2, 'call flow_control': 1 })
  await fine()
  await until('all are counted out', () => ingress.inFlight(INSTANCE) === 0)
})

t.test('a list of fields that is a bomb is answered, and its connection is still of use', async (t) => {
  const { address, fine, faults } = await rig(t)
  const client = new RawClient(t, address)
  const long = Buffer.concat([Buffer.of(0x40, 1, 0x61, 0x7f, 0x81, 0x1e), Buffer.alloc(3_968, 'v')])
  const head = callBlock()
  client.send(frame(FrameType.headers, 5, 1, Buffer.concat([head, long])))
  await client.stream(1)
  client.send(frame(FrameType.headers, 5, 3, Buffer.concat([head, Buffer.alloc(10_000, 0xbe)])))
  const [first] = await client.stream(1)
  const [answer] = await client.stream(3)
  t.ok(first)
  if (first !== undefined) client.fields(first)
  const trailers = client.frames.filter(({ id, type }) => id === 1 && type === FrameType.headers)[1]
  if (trailers !== undefined) client.fields(trailers)
  t.match(answer && client.fields(answer), [
    [':status', '200'],
    ['content-type', 'application/grpc'],
  ])
  client.send(frame(FrameType.headers, 5, 5, head))
  t.match(await client.stream(5), [{ type: FrameType.headers }])
  t.same(faults(), { 'call header_bomb': 1 })
  await fine()
})

t.test('more calls at once than a connection may have are refused one by one', async (t) => {
  const { address, ingress, fine, faults } = await rig(t)
  const client = new RawClient(t, address)
  const head = callBlock('Hang')
  client.send(...Array.from({ length: 1_010 }, (_, at) => frame(FrameType.headers, Flag.endHeaders, 2 * at + 1, head)))
  const last = (await client.stream(2_019)).at(-1)
  t.match(last, { type: FrameType.reset, payload: Buffer.of(0, 0, 0, ErrorCode.refusedStream) })
  t.same(faults(), { 'call too_many_streams': 10 })
  await fine()
  client.socket.destroy()
  await until('all are counted out', () => ingress.inFlight(INSTANCE) === 0)
})

t.test('calls that are reset at once, and others of the same connection', async (t) => {
  const { address, log, fine, ingress, faults } = await rig(t)
  const client = new RawClient(t, address)
  const head = callBlock('Hang')
  const pair = (at: number): Buffer[] => [
    frame(FrameType.headers, Flag.endHeaders, 2 * at + 1, head),
    reset(2 * at + 1, 8),
  ]
  client.send(...Array.from({ length: 700 }, (_, at) => pair(at)).flat())
  t.equal(await client.ended(), ErrorCode.enhanceYourCalm)
  t.match(log.entries.at(-1), { message: 'connection ended: it opens calls only to reset them' })
  t.same(faults(), { 'connection rapid_reset': 1 })
  await fine()
  await until('all are counted out', () => ingress.inFlight(INSTANCE) === 0)
})

t.test('a caller that grants no window costs little and holds up nobody', async (t) => {
  const { address, ingress, backend, fine } = await rig(t)
  const client = new RawClient(t, address, Buffer.concat([PREFACE, settings([Setting.initialWindowSize, 0])]))
  const head = callBlock('Flood')
  client.send(...Array.from({ length: 100 }, (_, at) => frame(FrameType.headers, 5, 2 * at + 1, head)))
  await until('all are under way', () => ingress.inFlight(INSTANCE) === 100)
  const sent = (): number => [...backend.sessions].reduce((sum, { socket }) => sum + socket.bytesWritten, 0)
  let last = -1
  await until('the flood stands still', async () => {
    const still = last === sent()
    last = sent()
    await pause(200)
    return still
  })
  t.ok(sent() < 60e6, `${sent()} bytes were taken for 100 streams`)
  await fine()
  client.socket.destroy()
  await until('all are counted out', () => ingress.inFlight(INSTANCE) === 0)
})

t.test('a caller that is slow to say anything is not waited for', async (t) => {
  // The unit is dialled in real time: a busy machine does not connect in a fiftieth of the time that it may take.
  let [speed, sinceMs, atMs] = [1, systemClock.nowMs(), systemClock.nowMs()]
  const nowMs = (): number => atMs + (systemClock.nowMs() - sinceMs) * speed
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> => systemClock.sleep(ms / speed, signal)
  const { address, fine, faults } = await rig(t, { ...systemClock, sleep, nowMs })
  ;[speed, sinceMs, atMs] = [50, systemClock.nowMs(), nowMs()]
  const silent = new RawClient(t, address, Buffer.from(PREFACE.subarray(0, 10)))
  const slow = new RawClient(t, address)
  slow.send(frame(FrameType.headers, 0, 1, callBlock()))
  await silent.ended()
  await slow.ended()
  t.same(faults(), { 'connection slow_greeting': 1, 'connection slow_headers': 1 })
  await fine()
})

t.test('garbage of every kind ends its own connection at most', async (t) => {
  const { address, fine, ingress } = await rig(t)
  for (let at = 0; at < 100; at += 1) {
    const client = new RawClient(t, address)
    client.send(frame(FrameType.headers, Flag.endHeaders, 1, callBlock('Hang')), randomBytes(500))
    client.socket.end()
    await until('it ends', () => client.closed)
  }
  await fine()
  await until('all are counted out', () => ingress.inFlight(INSTANCE) === 0)
})
