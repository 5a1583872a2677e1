import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Metadata, status } from '@grpc/grpc-js'
import t from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { DEFAULT_ROUTE } from '../../src/rpc/default-route.ts'
import { createIngress } from '../../src/rpc/ingress.ts'
import {
  answerOf,
  echo,
  framed,
  grpcBackend,
  grpcClient,
  openRaw,
  type Rig,
  rawBackend,
  rawClient,
  respondGrpc,
  startIngress,
  statusOf,
  valuesOf,
} from '../support/call-rig.ts'
import { echoAt, endpoint, literalWorld, SERVICE } from '../support/literal-world.ts'
import { memoryLog } from '../support/memory-log.ts'
import { SimClock } from '../../src/sim/sim-clock.ts'
import { until } from '../support/until.ts'

const HELLO = Buffer.from('hello')

/** Echo behind an ingress, and a client before it. */
async function echoRig(t: Rig) {
  const backend = await grpcBackend(t, { Bidi: echo, Unary: echo })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  return { backend, ingress, client: grpcClient(t, ingress.address()) }
}

t.test('all kinds of calls pass', async (t) => {
  const { client, ingress } = await echoRig(t)

  t.test('a small, an empty and an 8 MB message', async (t) => {
    for (const size of [100, 0, 8 << 20]) {
      const message = randomBytes(size)
      const result = await client.call('Unary', [message], { timeoutMs: 20_000 })
      t.equal(result.status.code, status.OK)
      t.ok(result.messages.length === 1 && result.messages[0]?.equals(message), `${size} bytes come back`)
    }
  })

  t.test('50 messages of 70 kB in one request', async (t) => {
    const result = await client.call(
      'Bidi',
      Array.from({ length: 50 }, () => Buffer.alloc(70_000, 'z')),
    )
    t.equal(result.status.code, status.OK)
    t.equal(result.messages.length, 50)
  })

  t.test('200 messages in turn, each answered before the next', async (t) => {
    const call = client.client.makeBidiStreamRequest(
      `/${SERVICE}/Bidi`,
      (b: Buffer) => b,
      (b: Buffer) => b,
      new Metadata(),
    )
    for (let turn = 0; turn < 200; turn += 1) {
      call.write(Buffer.from(String(turn)))
      const [answer] = (await once(call, 'data')) as [Buffer]
      if (answer.toString() !== String(turn)) t.fail(`turn ${turn} answered with ${answer.toString()}`)
    }
    call.end()
    t.equal((await statusOf(call)).code, status.OK)
  })

  t.test('nothing is in flight afterwards', async (t) => {
    await until('all calls are counted out', () => ingress.inFlight('echo-0-aaaaaa') === 0)
    await ingress.drained('echo-0-aaaaaa', new AbortController().signal)
    t.pass()
  })
})

t.test('large messages that come all at once, before there is a connection to the unit', async (t) => {
  const { client } = await echoRig(t)
  const message = Buffer.alloc(1_000_000, 'm')
  const results = await Promise.all(
    Array.from({ length: 8 }, () => client.call('Unary', [message], { timeoutMs: 20_000 })),
  )
  for (const { status: ended, messages } of results) {
    t.equal(ended.code, status.OK)
    t.ok(messages[0]?.equals(message))
  }
})

t.test('metadata and status pass byte for byte', async (t) => {
  const seen: string[][] = []
  const backend = await rawBackend(t, (stream, _headers, raw) => {
    seen.push(raw)
    stream.resume()
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'a-key': ['v1', 'v2', 'v1'], 'b-bin': ['AAEC', '/w=='] },
      { waitForTrailers: true, sendDate: false } as never,
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-end': ['1', '2'] }))
    stream.end()
  })
  // Time stands still, so that the deadline goes out as it came.
  const clock = { ...systemClock, nowMs: () => 0 }
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { clock })
  const client = rawClient(t, ingress.address())

  t.test('repeated and binary keys keep their values and order, and routing keys are taken off', async (t) => {
    const request = openRaw(client, `/${SERVICE}/Meta`, {
      'a-key': ['v1', 'v2', 'v1'],
      'b-bin': ['AAEC', '/w=='],
      'x-empty': '',
      'grpc-timeout': '5S',
      'hsu-unit': 'echo',
      'hsu-other': 'stays',
    })
    request.end()
    const answer = await answerOf(request)
    const [raw] = seen
    t.same(valuesOf(raw, 'a-key'), ['v1', 'v2', 'v1'])
    t.same(valuesOf(raw, 'b-bin'), ['AAEC', '/w=='])
    t.same(valuesOf(raw, 'x-empty'), [''])
    t.same(valuesOf(raw, 'grpc-timeout'), ['5S'])
    t.same(valuesOf(raw, 'te'), ['trailers'])
    t.same(valuesOf(raw, ':path'), [`/${SERVICE}/Meta`])
    t.same(valuesOf(raw, ':authority'), [ingress.address()])
    t.same(valuesOf(raw, 'hsu-unit'), [])
    t.same(valuesOf(raw, 'hsu-other'), ['stays'])
    t.same(valuesOf(answer.headers, 'a-key'), ['v1', 'v2', 'v1'])
    t.same(valuesOf(answer.headers, 'b-bin'), ['AAEC', '/w=='])
    t.same(valuesOf(answer.headers, 'date'), [], 'nothing is added')
    t.same(answer.trailers, ['grpc-status', '0', 'x-end', '1', 'x-end', '2'])
  })

  t.test('16 kB and 40 kB of metadata pass', async (t) => {
    for (const size of [16_000, 40_000]) {
      const request = openRaw(client, `/${SERVICE}/Meta`, { long: 'q'.repeat(size) })
      request.end()
      await answerOf(request)
      t.equal(valuesOf(seen.at(-1), 'long')[0]?.length, size)
    }
    const request = openRaw(
      client,
      `/${SERVICE}/Meta`,
      Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`k${at}`, `v${at}`])),
    )
    request.end()
    await answerOf(request)
    t.same(valuesOf(seen.at(-1), 'k199'), ['v199'])
  })
})

t.test('a failure without a body stays one block, with its words and its binary trailer', async (t) => {
  const backend = await grpcBackend(t, {
    Fail(call) {
      const metadata = new Metadata()
      metadata.set('x-tr', 'tv')
      metadata.set('x-bin-bin', Buffer.from([0, 1, 255]))
      call.emit('error', { code: status.FAILED_PRECONDITION, details: 'naïve: nope %', metadata })
    },
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const result = await grpcClient(t, ingress.address()).call('Fail', [HELLO])
  t.equal(result.status.code, status.FAILED_PRECONDITION)
  t.equal(result.status.details, 'naïve: nope %')
  t.same(result.status.metadata.get('x-tr'), ['tv'])
  t.same(result.status.metadata.get('x-bin-bin'), [Buffer.from([0, 1, 255])])
})

t.test('half a request that is cancelled never looks like a whole one', async (t) => {
  const events: string[] = []
  const backend = await rawBackend(t, (stream) => {
    stream.on('data', () => events.push('data'))
    stream.on('end', () => events.push(stream.aborted ? 'end after abort' : 'end'))
    stream.on('aborted', () => events.push('aborted'))
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const gone = new AbortController()
  const path = { ':method': 'POST', ':path': `/${SERVICE}/Upload`, 'content-type': 'application/grpc' }
  const request = rawClient(t, ingress.address()).request(path, { endStream: false, signal: gone.signal })
  request.on('error', () => undefined)
  request.write(framed(HELLO))
  await until('it arrives', () => events.length > 0)
  gone.abort()
  await until('the unit hears of it', () => events.includes('aborted'))
  t.notOk(events.includes('end'), events.join(', '))
})

t.test('deadline, cancel and a lost caller reach the unit', async (t) => {
  const seen: { deadline: unknown; cancelled: boolean }[] = []
  const backend = await grpcBackend(t, {
    Hang(call) {
      const entry = { deadline: call.getDeadline(), cancelled: false }
      seen.push(entry)
      call.on('cancelled', () => {
        entry.cancelled = true
      })
    },
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))

  t.test('the deadline travels, and ends the call', async (t) => {
    const result = await grpcClient(t, ingress.address()).call('Hang', [HELLO], { timeoutMs: 300 })
    t.equal(result.status.code, status.DEADLINE_EXCEEDED)
    const entry = seen.at(-1)
    t.ok(entry?.deadline instanceof Date || (typeof entry?.deadline === 'number' && Number.isFinite(entry.deadline)))
    await until('the unit sees the cancel', () => entry?.cancelled === true)
  })

  t.test('a cancel', async (t) => {
    const { client } = grpcClient(t, ingress.address())
    const count = seen.length
    const call = client.makeBidiStreamRequest(
      `/${SERVICE}/Hang`,
      (b: Buffer) => b,
      (b: Buffer) => b,
    )
    call.on('error', () => undefined)
    call.write(HELLO)
    const entry = await until('the call arrives', () => seen[count])
    t.equal(ingress.inFlight('echo-0-aaaaaa'), 1)
    const startedAt = Date.now()
    call.cancel()
    await until('the unit sees the cancel', () => entry.cancelled)
    t.ok(Date.now() - startedAt < 500)
    await until('counted out', () => ingress.inFlight('echo-0-aaaaaa') === 0)
  })

  t.test('a connection that is cut', async () => {
    const socket = connectTcp(Number(ingress.address().split(':').at(-1)), '127.0.0.1')
    const session = rawClient(t, ingress.address(), socket)
    const count = seen.length
    openRaw(session, `/${SERVICE}/Hang`).write(framed(HELLO))
    const entry = await until('the call arrives', () => seen[count])
    socket.resetAndDestroy()
    await until('the unit sees the cancel', () => entry.cancelled)
  })
})

t.test('a slow reader costs bounded memory and holds up nobody else', async (t) => {
  const written: number[] = []
  const chunk = Buffer.alloc(100_000)
  const backend = await rawBackend(t, (stream, headers) => {
    stream.resume()
    if (headers[':path'] === `/${SERVICE}/Unary`) {
      respondGrpc(stream, [framed(HELLO)])
      return
    }
    const at = written.push(0) - 1
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    const flood = (): void => {
      let more = true
      while (more && !stream.closed && (written[at] ?? 0) < 200e6) {
        more = stream.write(chunk)
        written[at] = (written[at] ?? 0) + chunk.length
      }
    }
    stream.on('drain', flood)
    flood()
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const session = rawClient(t, ingress.address())
  const stalled = Array.from({ length: 4 }, () => {
    const stream = openRaw(session, `/${SERVICE}/Flood`)
    stream.end()
    stream.on('response', () => stream.pause())
    return stream
  })
  await until('all are flooding', () => written.length === 4)
  let last = -1
  await until('the flood stands still', async () => {
    const sum = written.reduce((a, b) => a + b, 0)
    const still = sum === last && sum > 0
    last = sum
    await pause(200)
    return still
  })
  t.ok(Math.max(...written) < 3e6, `each took ${Math.max(...written)} bytes and no more`)

  const times: number[] = []
  for (let at = 0; at < 50; at += 1) {
    const startedAt = performance.now()
    const request = openRaw(session, `/${SERVICE}/Unary`)
    request.end(framed(HELLO))
    const answer = await answerOf(request)
    if (!answer.body.equals(framed(HELLO))) t.fail('a unary call beside them fails')
    times.push(performance.now() - startedAt)
  }
  t.ok((times.sort((a, b) => a - b)[25] ?? 1e9) < 100, `unary beside them: p50 ${times[25]?.toFixed(1)} ms`)
  for (const stream of stalled) stream.close(8)
  await until('counted out', () => ingress.inFlight('echo-0-aaaaaa') === 0)
})

t.test('a request that is faster than the unit is held back', async (t) => {
  let waiting: ServerHttp2Stream | undefined
  const backend = await rawBackend(t, (stream) => {
    waiting = stream
    stream.pause()
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Upload`)
  let sent = 0
  const chunk = Buffer.alloc(100_000)
  const push = (): void => {
    while (sent < 100e6) {
      sent += chunk.length
      if (!request.write(chunk)) break
    }
  }
  request.on('drain', push)
  push()
  await until('it arrives', () => waiting)
  let last = -1
  await until('it stands still', async () => {
    const still = sent === last
    last = sent
    await pause(200)
    return still
  })
  t.ok(sent < 3e6, `${sent} bytes went in`)
  request.close(8)
})

t.test('an answer before the end of the request ends the call', async (t) => {
  const backend = await grpcBackend(t, {
    Early(call) {
      call.once('data', () => call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'early' }))
      call.on('error', () => undefined)
    },
    Unary: echo,
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const { client, call } = grpcClient(t, ingress.address())
  const early = client.makeBidiStreamRequest(
    `/${SERVICE}/Early`,
    (b: Buffer) => b,
    (b: Buffer) => b,
  )
  early.on('error', () => undefined)
  early.resume()
  const ended = statusOf(early)
  for (let at = 0; at < 1_000; at += 1) early.write(Buffer.alloc(10_000))
  const result = await ended
  t.equal(result.code, status.RESOURCE_EXHAUSTED)
  t.equal(result.details, 'early')
  t.equal((await call('Unary', [HELLO])).status.code, status.OK)
  await until('counted out', () => ingress.inFlight('echo-0-aaaaaa') === 0)

  const raw = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Early`)
  raw.write(framed(HELLO))
  const answer = await answerOf(raw)
  t.equal(answer.rstCode, 0, 'a caller that goes on sending is reset without an error, after the status')
  t.same(valuesOf(answer.trailers ?? answer.headers, 'grpc-status'), ['8'])
})

t.test('a unit that dies', async (t) => {
  const handle = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    stream.resume()
    if (headers[':path']?.endsWith('Unary') === true) {
      respondGrpc(stream, [framed(HELLO)])
      return
    }
    if (headers[':path']?.endsWith('Hang') === true) return
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    stream.write(framed(HELLO))
  }
  const backend = await rawBackend(t, handle)
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const { client, call } = grpcClient(t, ingress.address())

  const midCall = client.makeBidiStreamRequest(
    `/${SERVICE}/Stream`,
    (b: Buffer) => b,
    (b: Buffer) => b,
  )
  midCall.on('error', () => undefined)
  const midEnd = statusOf(midCall)
  midCall.write(HELLO)
  await once(midCall, 'data')
  const noHeaders = call('Hang', [HELLO])
  await until('both are there', () => ingress.inFlight('echo-0-aaaaaa') === 2)
  await pause(20)
  await backend.kill()

  t.equal((await midEnd).code, status.UNAVAILABLE, 'in the middle of an answer')
  const before = await noHeaders
  t.equal(before.status.code, status.UNAVAILABLE, 'before its answer')
  const absent = await call('Unary', [HELLO], { timeoutMs: 3_000 })
  t.equal(absent.status.code, status.UNAVAILABLE, 'when it is not there')
  t.match(absent.status.details, /cannot connect to instance 'echo-0-aaaaaa'.*ECONNREFUSED/)

  await rawBackend(t, handle, { port: backend.port })
  const back = await call('Unary', [HELLO], { timeoutMs: 3_000 })
  t.equal(back.status.code, status.OK, 'and is found again at once')
})

t.test('resets of a unit are passed on as they are', async (t) => {
  const backend = await rawBackend(t, (stream, headers) => {
    stream.resume()
    if (headers[':path']?.endsWith('Before') === true) {
      stream.close(11)
      return
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.write(framed(HELLO), () => stream.close(2))
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const session = rawClient(t, ingress.address())
  const before = openRaw(session, `/${SERVICE}/Before`)
  before.end(framed(HELLO))
  t.equal((await answerOf(before)).rstCode, 11)
  const after = openRaw(session, `/${SERVICE}/After`)
  after.end(framed(HELLO))
  t.equal((await answerOf(after)).rstCode, 2)
})

t.test('GOAWAY fails no call', async (t) => {
  let served = 0
  let age = 20
  const backend = await rawBackend(t, (stream) => {
    stream.resume()
    stream.on('end', () => {
      served += 1
      respondGrpc(stream, [framed(HELLO)])
      if (served % age === 0) stream.session?.close()
    })
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const { call } = grpcClient(t, ingress.address())

  t.test('at rest', async (t) => {
    for (let at = 0; at < 100; at += 1) {
      const { status: ended } = await call('Unary', [HELLO])
      if (ended.code !== status.OK) t.fail(`call ${at}: ${ended.code} ${ended.details}`)
    }
  })

  t.test('under load', async (t) => {
    age = 100
    let failed = 0
    const worker = async (): Promise<void> => {
      for (let at = 0; at < 250; at += 1) {
        const { status: ended } = await call('Unary', [HELLO])
        if (ended.code !== status.OK) {
          failed += 1
          t.comment(`${ended.code} ${ended.details}`)
        }
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    t.equal(failed, 0)
    t.ok(served > 2_000)
  })
})

t.test('a refused call is sent again, with its body, and to another instance first', async (t) => {
  let refused = 0
  const refusing = await rawBackend(t, (stream) => {
    stream.once('data', () => {
      refused += 1
      stream.close(7)
    })
  })
  const bodies: Buffer[] = []
  const taking = await rawBackend(t, (stream) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      bodies.push(Buffer.concat(chunks))
      respondGrpc(stream, [framed(HELLO)])
    })
  })
  const world = literalWorld(echoAt(refusing.address), echoAt(taking.address, { instance: 'echo-1-bbbbbb' }))
  const ingress = await startIngress(t, world)
  const client = grpcClient(t, ingress.address())
  const message = randomBytes(20_000)
  for (let at = 0; at < 20; at += 1) {
    const result = await client.call('Unary', [message])
    if (result.status.code !== status.OK) t.fail(`${result.status.code} ${result.status.details}`)
  }
  t.ok(refused > 0, 'some were refused')
  t.ok(
    bodies.every((body) => body.equals(framed(message))),
    'and arrived whole at the other',
  )

  world.entries = [echoAt(refusing.address)]
  const { status: ended } = await client.call('Unary', [message])
  t.equal(ended.code, status.UNAVAILABLE)
  t.match(ended.details, /did not take the call/)
})

t.test('an instance that is not there costs no call while another is', async (t) => {
  const backend = await grpcBackend(t, { Unary: echo })
  const world = literalWorld(echoAt('127.0.0.1:1'), echoAt(backend.address, { instance: 'echo-1-bbbbbb' }))
  const ingress = await startIngress(t, world)
  const client = grpcClient(t, ingress.address())
  const results = await Promise.all(Array.from({ length: 40 }, () => client.call('Unary', [HELLO])))
  t.same(new Set(results.map((result) => result.status.code)), new Set([status.OK]))
})

t.test('the stream limit of a unit is kept: 50 calls of 50 ms, 5 at once', async (t) => {
  let open = 0
  let most = 0
  const perSession = new Map<unknown, number>()
  const backend = await rawBackend(
    t,
    (stream) => {
      const { session } = stream
      const count = (perSession.get(session) ?? 0) + 1
      perSession.set(session, count)
      open += 1
      most = Math.max(most, count)
      stream.on('close', () => perSession.set(session, (perSession.get(session) ?? 1) - 1))
      stream.resume()
      void pause(50).then(() => respondGrpc(stream, [framed(HELLO)]))
    },
    { settings: { maxConcurrentStreams: 5 } },
  )
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const client = grpcClient(t, ingress.address())
  const results = await Promise.all(
    Array.from({ length: 50 }, () => client.call('Unary', [HELLO], { timeoutMs: 10_000 })),
  )
  t.equal(results.filter((result) => result.status.code === status.OK).length, 50)
  t.equal(open, 50)
  t.ok(most <= 5, `at most ${most} on one connection`)
  t.ok(perSession.size <= 4, `${perSession.size} connections`)
})

t.test('a deadline that passes while a call waits for a place ends it', async (t) => {
  const backend = await rawBackend(t, (stream) => stream.resume(), { settings: { maxConcurrentStreams: 1 } })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const session = rawClient(t, ingress.address())
  const held = Array.from({ length: 4 }, () => openRaw(session, `/${SERVICE}/Hang`))
  await until('all places are taken', () => backend.sessions.size === 4)
  const request = openRaw(session, `/${SERVICE}/Hang`, { 'grpc-timeout': '200m' })
  request.end(framed(HELLO))
  const answer = await answerOf(request)
  t.same(valuesOf(answer.headers, 'grpc-status'), ['4'])
  held[0]?.close(8)
  await until('the place it waited for is free again', () => ingress.inFlight('echo-0-aaaaaa') === 3)
  const next = openRaw(session, `/${SERVICE}/Hang`)
  next.end()
  await until('the next call gets it', () => ingress.inFlight('echo-0-aaaaaa') === 4)
})

t.test('garbage closes that connection and nothing else', async (t) => {
  const backend = await grpcBackend(t, { Bidi: echo, Unary: echo })
  // Connections are looked at every few seconds: a clock that runs faster makes that short.
  const fast = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 20, signal) }
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { clock: fast })
  const client = grpcClient(t, ingress.address())
  const port = Number(ingress.address().split(':').at(-1))
  const preface = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
  ])
  const junk = [
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    randomBytes(10_000),
    Buffer.concat([preface, randomBytes(10_000)]),
    Buffer.concat([preface, Buffer.from([0, 0, 3, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff])]),
    Buffer.concat([preface, Buffer.from([0, 0, 1, 0, 8, 0, 0, 0, 1, 0xff])]),
  ]
  const bystander = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Bidi`)
  bystander.write(framed(HELLO))
  for (const bytes of junk) {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(bytes)
    const ended = await Promise.race([once(socket, 'close').then(() => true), pause(5_000, false, { ref: false })])
    t.ok(ended, `${bytes.subarray(0, 30).toString('hex')} ends its connection`)
  }
  bystander.end()
  t.same(valuesOf((await answerOf(bystander)).trailers, 'grpc-status'), ['0'], 'a call beside them goes on')
  t.equal((await client.call('Unary', [HELLO])).status.code, status.OK)
})

t.test('a unit that talks garbage is unavailable', async (t) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  const ingress = await startIngress(
    t,
    literalWorld(echoAt(`127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)),
  )
  const result = await grpcClient(t, ingress.address()).call('Unary', [HELLO], { timeoutMs: 5_000 })
  t.equal(result.status.code, status.UNAVAILABLE)
})

t.test('a client that opens calls only to reset them is sent away', async (t) => {
  const backend = await rawBackend(t, (stream) => stream.resume())
  const log = memoryLog()
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { log })
  const good = rawClient(t, ingress.address())
  const steady = openRaw(good, `/${SERVICE}/Hang`)
  const bad = rawClient(t, ingress.address())
  const codes: number[] = []
  bad.on('goaway', (code: number) => codes.push(code))
  const gone = new Promise<void>((resolve) => bad.once('close', resolve))
  const open = (): boolean => !bad.destroyed && !bad.closed
  for (let batch = 0; batch < 100 && open(); batch += 1) {
    for (let at = 0; at < 50 && open(); at += 1) openRaw(bad, `/${SERVICE}/Hang`).close(8)
    await pause(1)
  }
  await gone
  t.same(codes, [constants.NGHTTP2_ENHANCE_YOUR_CALM])
  t.match(log.entries, [{ message: 'connection ended: it opens calls only to reset them' }])
  t.notOk(steady.closed)
  await until('its calls are counted out', () => ingress.inFlight('echo-0-aaaaaa') === 1)
})

t.test('calls that run into their deadline cost no connection', async (t) => {
  const backend = await rawBackend(t, (stream) => stream.resume())
  const log = memoryLog()
  let nowMs = 0
  const clock = { ...systemClock, nowMs: () => nowMs }
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { log, clock })
  const session = rawClient(t, ingress.address())
  const calls = Array.from({ length: 600 }, () => openRaw(session, `/${SERVICE}/Hang`))
  await until('all are under way', () => ingress.inFlight('echo-0-aaaaaa') === 600)
  nowMs = 3_000
  for (const call of calls) call.close(8)
  await until('all are counted out', () => ingress.inFlight('echo-0-aaaaaa') === 0)
  openRaw(session, `/${SERVICE}/Hang`)
  await until('the connection takes another', () => session.destroyed || ingress.inFlight('echo-0-aaaaaa') === 1)
  t.notOk(session.destroyed)
  t.same(log.entries, [])
})

t.test('a client that is busy for a while keeps its connection, one that is gone does not', async (t) => {
  const backend = await grpcBackend(t, { Bidi: echo })
  const sim = new SimClock()
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    ms === 3_000 ? sim.sleep(ms, signal) : systemClock.sleep(ms, signal)
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { clock: { ...systemClock, sleep } })
  // A client whose event loop is held up reads nothing: here a proxy holds back what comes for it.
  let hold: (held: boolean) => void = () => undefined
  const proxy = createTcpServer((near) => {
    const far = connectTcp(Number(ingress.address().split(':').at(-1)), '127.0.0.1')
    for (const socket of [near, far]) socket.on('error', () => undefined)
    near.pipe(far)
    far.pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    hold = (held) => (held ? far.unpipe(near).pause() : far.pipe(near))
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  const bound = proxy.address()
  const session = rawClient(t, `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`)
  const call = openRaw(session, `/${SERVICE}/Bidi`)
  call.write(framed(HELLO))
  await once(call, 'data')

  hold(true)
  await sim.advance(18_000)
  await pause(50)
  hold(false)
  call.end(framed(HELLO))
  t.same(valuesOf((await answerOf(call)).trailers, 'grpc-status'), ['0'], 'the call goes on')

  const gone = once(session, 'close')
  openRaw(session, `/${SERVICE}/Bidi`).write(framed(HELLO))
  await until('it arrives', () => ingress.inFlight('echo-0-aaaaaa') === 1)
  hold(true)
  await sim.advance(30_000)
  hold(false)
  await gone
})

t.test('a call that is sent again carries what is left of its deadline', async (t) => {
  const timeouts: string[] = []
  const backend = await rawBackend(t, (stream, _headers, raw) => {
    stream.resume()
    const first = timeouts.push(...valuesOf(raw, 'grpc-timeout')) === 1
    if (first) void pause(100).then(() => stream.close(7))
    else respondGrpc(stream, [framed(HELLO)])
  })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Unary`, { 'grpc-timeout': '5S' })
  request.end(framed(HELLO))
  t.same(valuesOf((await answerOf(request)).trailers, 'grpc-status'), ['0'])
  const [, second] = timeouts
  t.match(second, /^\d{4}m$/)
  t.ok(Number.parseInt(second ?? '', 10) <= 4_910, `${second} at the second attempt`)
})

t.test('a caller that is slow to take an early answer is told to stop sending once it has it', async (t) => {
  // One frame more than the window of the caller: the end of the answer stays with the ingress for a while.
  const backend = await rawBackend(t, (stream) => respondGrpc(stream, [Buffer.alloc(65_000), Buffer.alloc(5_000)]))
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)))
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Early`)
  request.write(framed(HELLO))
  await once(request, 'response')
  await until('the unit is done', () => ingress.inFlight('echo-0-aaaaaa') === 0)
  await pause(100)
  const late = (): Promise<string> => pause(3_000, 'too late', { ref: false })
  const sent = new Promise<string>((resolve) => request.write(Buffer.alloc(2_000_000), () => resolve('sent')))
  t.equal(await Promise.race([sent, late()]), 'sent', 'what it still sends is read and thrown away')
  const answer = await Promise.race([answerOf(request), late()])
  t.match(answer, { rstCode: 0, trailers: ['grpc-status', '0'] })
  t.equal(typeof answer === 'string' ? 0 : answer.body.length, 70_000)
})

t.test('a caller that never takes an early answer is cut off', async (t) => {
  const backend = await rawBackend(t, (stream) => respondGrpc(stream, [Buffer.alloc(65_000), Buffer.alloc(5_000)]))
  const fast = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal) }
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { clock: fast })
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Early`)
  request.write(framed(HELLO))
  await until('it is cut off', () => request.rstCode === 8)
})

t.test('what the ingress itself must say', async (t) => {
  const backend = await grpcBackend(t, { Unary: echo })
  const world = literalWorld(echoAt(backend.address, { ready: false }), {
    endpoint: endpoint({ unit: 'shop', instance: 'shop-0-cccccc', address: backend.address }),
    services: ['shop.v1.Orders'],
  })
  const ingress = await startIngress(t, world)
  const { call } = grpcClient(t, ingress.address())

  const unknown = await call('/nobody.v1.Has/It', [HELLO])
  t.equal(unknown.status.code, status.UNIMPLEMENTED)
  t.equal(unknown.status.details, "no unit offers 'nobody.v1.Has'; known: echo.Echo, shop.v1.Orders")
  t.equal(unknown.status.metadata.get('grpc-status-details-bin').length, 1)

  const unready = await call('Unary', [HELLO])
  t.equal(unready.status.code, status.UNAVAILABLE)
  t.equal(unready.status.details, "no ready endpoint for 'echo.Echo' (1 known)")

  const html = openRaw(rawClient(t, ingress.address()), '/', { 'content-type': 'text/html' })
  html.end()
  const answer = await answerOf(html)
  t.same(valuesOf(answer.headers, ':status'), ['415'])
  t.ok(answer.alone)

  const metadata = new Metadata()
  metadata.set('hsu-unit', 'shop')
  const reflected = await call('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', [HELLO], { metadata })
  t.equal(reflected.status.code, status.UNIMPLEMENTED)
  t.match(reflected.status.details, /does not implement|not implement/i, 'it is the unit that answers')
})

t.test('a route timeout bounds calls that have no deadline', async (t) => {
  const timeouts: string[][] = []
  const backend = await rawBackend(t, (stream, _headers, raw) => {
    timeouts.push(valuesOf(raw, 'grpc-timeout'))
    stream.resume()
  })
  const routeOf = () => ({ ...DEFAULT_ROUTE, timeout: 150 })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { routeOf })
  const request = openRaw(rawClient(t, ingress.address()), `/${SERVICE}/Hang`)
  request.end(framed(HELLO))
  const answer = await answerOf(request)
  t.same(valuesOf(answer.headers, 'grpc-status'), ['4'])
  t.same(timeouts, [['150m']])
})

t.test('a busy port is replaced, and stop leaves nothing', async (t) => {
  const { ingress: first } = await echoRig(t)
  const log = memoryLog()
  const second = createIngress(
    { clock: systemClock, random: systemRandom, log, endpoints: literalWorld(), linkOf: () => undefined },
    { listen: first.address(), nodeId: 'self', certificate: undefined },
  )
  await second.start()
  t.not(second.address(), first.address())
  t.match(log.entries, [
    {
      level: 'warn',
      message: 'port is busy; another one is used',
      fields: { wanted: first.address(), used: second.address() },
    },
  ])
  await second.stop()
  await second.stop()
})

t.test('stop lets calls end, and waits no longer than its grace', async (t) => {
  const backend = await rawBackend(t, (stream, headers) => {
    stream.resume()
    if (headers[':path']?.endsWith('Slow') === true) void pause(100).then(() => respondGrpc(stream, [framed(HELLO)]))
  })
  const ingress = createIngress(
    {
      clock: systemClock,
      random: systemRandom,
      log: memoryLog(),
      endpoints: literalWorld(echoAt(backend.address)),
      linkOf: () => undefined,
    },
    { listen: '127.0.0.1:0', nodeId: 'self', certificate: undefined, graceMs: 500 },
  )
  await ingress.start()
  const session = rawClient(t, ingress.address())
  const slow = openRaw(session, `/${SERVICE}/Slow`)
  slow.end(framed(HELLO))
  const hang = openRaw(session, `/${SERVICE}/Hang`)
  hang.end(framed(HELLO))
  await until('both are under way', () => ingress.inFlight('echo-0-aaaaaa') === 2)
  const startedAt = performance.now()
  const [ended] = await Promise.all([answerOf(slow), ingress.stop()])
  t.same(valuesOf(ended.trailers, 'grpc-status'), ['0'])
  t.ok(performance.now() - startedAt < 2_000)
  t.equal(ingress.inFlight('echo-0-aaaaaa'), 0)
})
