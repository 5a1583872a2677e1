import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, connect as dial, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { HsuError, type Reason, REASONS } from '../../src/base/error.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { EchoService } from '../../src/rpc/gen/echo/v1/echo_pb.ts'
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import {
  ControlService,
  connect,
  createApiServer,
  implement,
  type ServiceHandlers,
  type ServiceImplementation,
} from '../../src/rpc/index.ts'
import { createReflectionClient } from '../../src/rpc/reflection-client.ts'
import { memoryLog } from '../support/memory-log.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

function tempDir(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-rpc-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function serve(t: Test, services: readonly ServiceImplementation[]) {
  const socketPath = join(tempDir(t), 'run', 'api.sock')
  const log = memoryLog()
  const server = createApiServer({ clock: systemClock, log }, { socketPath }, services)
  const connection = connect(`unix:${socketPath}`)
  t.teardown(async () => {
    connection.close()
    await server.stop()
  })
  await server.start()
  return { server, connection, socketPath, log }
}

/** A server of `EchoService` with some of its methods, and its client. */
async function serveEcho(t: Test, handlers: Partial<ServiceHandlers<typeof EchoService>>) {
  const served = await serve(t, [implement(EchoService, handlers)])
  return { ...served, echo: served.connection.client(EchoService) }
}

async function* each<T>(...items: T[]): AsyncGenerator<T, void> {
  yield* items
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

t.test('all four kinds of call arrive and are answered', async (t) => {
  const { echo } = await serveEcho(t, {
    async echo({ message }, { metadata }) {
      return { message, node: metadata('hsu-node') ?? 'none', instance: metadata('absent') ?? 'absent' }
    },
    async *repeat({ message, count }) {
      for (let number = 1; number <= count; number += 1) yield { message, number }
    },
    async join(requests) {
      const words: string[] = []
      for await (const { message } of requests) words.push(message)
      return { message: words.join(' ') }
    },
    async *chat(requests) {
      for await (const { message } of requests) yield { message: `re: ${message}` }
    },
  })

  const answered = await echo.echo({ message: 'h\u00e9' }, { metadata: { 'hsu-node': 'b' } })
  t.match(answered, { message: 'h\u00e9', node: 'b', instance: 'absent' })
  const repeated = await collect(echo.repeat({ message: 'x', count: 3 }))
  t.same(
    repeated.map(({ number }) => number),
    [1, 2, 3],
  )
  t.equal((await collect(echo.repeat({ count: 0 }))).length, 0, 'an empty stream')
  t.equal((await echo.join(each({ message: 'a' }, { message: 'b' }))).message, 'a b')
  t.equal((await echo.join(each())).message, '', 'an empty stream of requests')
  const chat = await collect(echo.chat(each({ message: 'a' }, { message: 'b' })))
  t.same(
    chat.map(({ message }) => message),
    ['re: a', 're: b'],
  )
})

t.test('a chat goes to and fro, one message waiting for the other', async (t) => {
  const { echo } = await serveEcho(t, {
    async *chat(requests) {
      for await (const { message } of requests) yield { message: `${message}!` }
    },
  })
  let heard: (message: string) => void = () => undefined
  async function* speak(): AsyncGenerator<{ message: string }, void> {
    let word = 'a'
    while (word.length < 4) {
      const answer = new Promise<string>((resolve) => {
        heard = resolve
      })
      yield { message: word }
      word = await answer
    }
  }
  const said: string[] = []
  for await (const { message } of echo.chat(speak(), { timeoutMs: 10_000 })) {
    said.push(message)
    heard(message)
  }
  t.same(said, ['a!', 'a!!', 'a!!!'])
})

t.test('errors', async (t) => {
  t.test('come back as they were thrown, for every reason, and are not logged', async (t) => {
    const reasons = Object.keys(REASONS) as Reason[]
    const { echo, log } = await serveEcho(t, {
      async echo({ message }) {
        throw new HsuError(message as Reason, `sorry: ${message}`, { details: { unit: 'api' } })
      },
    })
    for (const reason of reasons) {
      const error = await throwsReason(t, reason, () => echo.echo({ message: reason }))
      t.match(error, { message: `sorry: ${reason}`, details: { unit: 'api' } })
    }
    t.equal(log.entries.length, 1, 'only INTERNAL is')
  })

  t.test('of our own making are INTERNAL and logged once', async (t) => {
    const { echo, log } = await serveEcho(t, {
      async echo() {
        throw new TypeError('x is not a function')
      },
    })
    const error = await throwsReason(t, 'INTERNAL', () => echo.echo({}))
    t.equal(error?.message, 'x is not a function')
    t.match(log.entries, [{ level: 'error', message: 'rpc failed', fields: { path: '/echo.v1.EchoService/Echo' } }])
  })

  t.test('after some messages of a stream come after them', async (t) => {
    const { echo } = await serveEcho(t, {
      async *repeat() {
        yield { number: 1 }
        yield { number: 2 }
        throw new HsuError('LEASE_LOST', 'taken over')
      },
    })
    const seen: number[] = []
    await throwsReason(t, 'LEASE_LOST', async () => {
      for await (const { number } of echo.repeat({})) seen.push(number)
    })
    t.same(seen, [1, 2])
  })

  t.test("of the caller's own requests end the call and are thrown as they are", async (t) => {
    const { echo } = await serveEcho(t, {
      async join(requests) {
        await collect(requests)
        return {}
      },
    })
    async function* broken(): AsyncGenerator<{ message: string }, void> {
      yield { message: 'a' }
      throw new HsuError('STORE_CORRUPT', 'no more')
    }
    await throwsReason(t, 'STORE_CORRUPT', () => echo.join(broken()))
  })

  t.test('are UNSUPPORTED for a method without handler and for a service that is not there', async (t) => {
    const { connection, echo } = await serveEcho(t, {})
    for (const attempt of [() => echo.echo({}), () => collect(echo.repeat({})), () => echo.join(each())]) {
      const error = await throwsReason(t, 'UNSUPPORTED', attempt)
      t.match(error?.message, /echo\.v1\.EchoService\/\w+ is not offered/)
    }
    await throwsReason(t, 'UNSUPPORTED', () => connection.client(ControlService).getNode({}))
  })

  t.test('are USAGE for a request that cannot be read or is not one', async (t) => {
    const { connection } = await serveEcho(t, { echo: async () => ({}) })
    const call = (...requests: Uint8Array[]): Promise<unknown> =>
      collect(connection.call('/echo.v1.EchoService/Echo', each(...requests)))
    await throwsReason(t, 'USAGE', () => call(Uint8Array.of(0xff, 0xff)))
    await throwsReason(t, 'USAGE', () => call())
    await throwsReason(t, 'USAGE', () => call(Uint8Array.of(), Uint8Array.of()))
    t.equal(((await call(Uint8Array.of())) as unknown[]).length, 1)
  })

  t.test('are LIMIT_EXCEEDED for a request over 4 MiB', async (t) => {
    const { echo } = await serveEcho(t, { echo: async () => ({}) })
    await throwsReason(t, 'LIMIT_EXCEEDED', () => echo.echo({ message: 'x'.repeat(5 * 1024 * 1024) }))
    t.ok(await echo.echo({ message: 'x'.repeat(3 * 1024 * 1024) }))
  })

  t.test('name what cannot be reached', async (t) => {
    const socket = join(tempDir(t), 'none.sock')
    const nobody = connect(`unix:${socket}`)
    const refused = connect('127.0.0.1:1')
    t.teardown(() => [nobody, refused].forEach((connection) => connection.close()))
    const absent = await throwsReason(t, 'NOT_STARTED', () => nobody.client(EchoService).echo({}))
    t.match(absent?.message, `no node listens on ${socket}; start one with 'hsu up'`)
    const unreachable = await throwsReason(t, 'NODE_UNREACHABLE', () => refused.client(EchoService).echo({}))
    t.match(unreachable?.message, 'cannot connect to 127.0.0.1:1')
  })
})

t.test('cancellation', async (t) => {
  /** A server whose `repeat` and `echo` wait until their signal aborts. */
  async function serveWaiting(t: Test) {
    const seen = { begun: 0, aborted: 0, ended: 0 }
    const wait = async (signal: AbortSignal): Promise<void> => {
      seen.begun += 1
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      seen.aborted += 1
    }
    const served = await serveEcho(t, {
      async echo(_request, { signal }) {
        await wait(signal)
        return {}
      },
      async *repeat(_request, { signal }) {
        try {
          yield { number: 1 }
          await wait(signal)
        } finally {
          seen.ended += 1
        }
      },
    })
    return { ...served, seen }
  }

  t.test('by a signal reaches the handler', async (t) => {
    const { echo, seen, log } = await serveWaiting(t)
    const giveUp = new AbortController()
    const call = throwsReason(t, 'CANCELLED', () => echo.echo({}, { signal: giveUp.signal }))
    await until('the handler runs', () => seen.begun === 1)
    giveUp.abort()
    await call
    await until('the handler was told', () => seen.aborted === 1)
    t.same(log.entries, [])
  })

  t.test('by a signal that has already aborted makes no call', async (t) => {
    const { echo, seen } = await serveWaiting(t)
    await throwsReason(t, 'CANCELLED', () => echo.echo({}, { signal: AbortSignal.abort() }))
    t.equal(seen.begun, 0)
  })

  t.test('for a reason of ours is that reason', async (t) => {
    const { echo, seen } = await serveWaiting(t)
    const giveUp = new AbortController()
    const call = throwsReason(t, 'NODE_DRAINING', () => echo.echo({}, { signal: giveUp.signal }))
    await until('the handler runs', () => seen.begun === 1)
    giveUp.abort(new HsuError('NODE_DRAINING', 'not now'))
    await call
  })

  t.test('by a deadline reaches the handler', async (t) => {
    const { echo, seen } = await serveWaiting(t)
    const error = await throwsReason(t, 'TIMED_OUT', () => echo.echo({}, { timeoutMs: 200 }))
    t.match(error?.message, 'no answer from unix:')
    await until('the handler was told', () => seen.aborted === seen.begun)
  })

  t.test("by leaving the loop ends the handler's stream", async (t) => {
    const { echo, seen } = await serveWaiting(t)
    for await (const { number } of echo.repeat({})) {
      t.equal(number, 1)
      break
    }
    await until('the handler ended', () => seen.ended === 1)
  })

  t.test('ends an iterable that is not a generator, although it never answers', async (t) => {
    let returned = 0
    const { echo } = await serveEcho(t, {
      repeat: () => ({
        [Symbol.asyncIterator]: () => ({
          next: () => new Promise<never>(() => undefined),
          return: async () => {
            returned += 1
            return { done: true, value: undefined }
          },
        }),
      }),
    })
    await throwsReason(t, 'TIMED_OUT', () => collect(echo.repeat({}, { timeoutMs: 200 })))
    await until('the iterator was ended', () => returned === 1)
  })

  t.test('by closing the connection ends its calls', async (t) => {
    const { connection, echo, seen } = await serveWaiting(t)
    const call = throwsReason(t, 'CANCELLED', () => echo.echo({}))
    await until('the handler runs', () => seen.begun === 1)
    connection.close()
    connection.close()
    await call
    await until('the handler was told', () => seen.aborted === 1)
    await throwsReason(t, 'NOT_STARTED', () => echo.echo({}))
  })

  t.test('leaves no listener behind on a long-lived signal', async (t) => {
    const { echo } = await serveEcho(t, { echo: async () => ({}) })
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners += 1
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>): void => {
      listeners -= 1
      remove(...args)
    }
    for (let count = 0; count < 5; count += 1) await echo.echo({}, { signal })
    t.equal(listeners, 0)
  })
})

t.test('back-pressure', async (t) => {
  const message = 'x'.repeat(64 * 1024)

  t.test('a slow reader holds the producer back', async (t) => {
    let made = 0
    const { echo } = await serveEcho(t, {
      async *repeat() {
        // Not without end: a test that fails must not eat the machine.
        for (; made < 2_000; made += 1) yield { message }
      },
    })
    let read = 0
    for await (const response of echo.repeat({})) {
      read += response.message.length / message.length
      if (read === 1) await until('the producer pauses', async () => isSteady(() => made))
      if (read === 200) break
    }
    t.ok(made < 200 + 100, `${made} messages of 64 KiB were made for 200 that were read`)
  })

  t.test('a slow handler holds the caller back', async (t) => {
    let made = 0
    let go = (): void => undefined
    const { echo } = await serveEcho(t, {
      async join(requests) {
        await new Promise<void>((resolve) => {
          go = resolve
        })
        return { message: `${(await collect(requests)).length}` }
      },
    })
    async function* flood(): AsyncGenerator<{ message: string }, void> {
      for (; made < 500; made += 1) yield { message }
    }
    const joined = echo.join(flood())
    await until('the caller pauses', async () => isSteady(() => made))
    t.ok(made < 100, `${made} messages of 64 KiB were sent to a handler that reads none`)
    go()
    t.equal((await joined).message, '500')
  })
})

/** True when a counter moved, and then not for many turns of the event loop. */
async function isSteady(counter: () => number): Promise<boolean> {
  const before = counter()
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  return before > 0 && counter() === before
}

t.test('the standard services', async (t) => {
  t.test('describe what is offered, in both versions of reflection', async (t) => {
    const { connection } = await serve(t, [implement(ControlService, {})])
    const reflection = createReflectionClient(connection, {})
    t.same(await reflection.services(), [
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'hsu.control.v1.ControlService',
    ])
    for (const symbol of [
      'hsu.control.v1.ControlService',
      'hsu.control.v1.ControlService.GetNode',
      'hsu.control.v1.Unit',
    ]) {
      const files = await reflection.filesOfSymbol(symbol)
      t.same(files?.map(({ name }) => name).sort(), [
        'google/protobuf/duration.proto',
        'google/protobuf/timestamp.proto',
        'hsu/control/v1/control.proto',
      ])
      t.equal(files?.[0]?.name, 'hsu/control/v1/control.proto', 'the one asked for comes first')
    }
    t.equal((await reflection.filesByName('google/protobuf/duration.proto'))?.length, 1)
    t.equal(await reflection.filesOfSymbol('no.such.Thing'), undefined)
    t.equal(await reflection.filesByName('no/such.proto'), undefined)
  })

  t.test('tell that the server and its services are well', async (t) => {
    const { connection } = await serve(t, [implement(ControlService, {})])
    const health = connection.client(Health)
    t.equal((await health.check({})).status, Serving.SERVING)
    t.equal((await health.check({ service: 'hsu.control.v1.ControlService' })).status, Serving.SERVING)
    const error = await throwsReason(t, 'UNIT_NOT_FOUND', () => health.check({ service: 'no.such.Service' }))
    t.equal(error?.details['code'], 'NOT_FOUND')
  })

  t.test('tell watchers when the server stops', async (t) => {
    const { connection, server } = await serve(t, [implement(ControlService, {})])
    const seen: Serving[] = []
    let stopped: Promise<void> | undefined
    for await (const { status } of connection.client(Health).watch({})) {
      seen.push(status)
      stopped ??= server.stop()
    }
    await stopped
    t.same(seen, [Serving.SERVING, Serving.NOT_SERVING])
  })
})

t.test('the socket', async (t) => {
  const echoing = [implement(EchoService, { echo: async ({ message }) => ({ message }) })]
  const serverOn = (socketPath: string, services = echoing) =>
    createApiServer({ clock: systemClock, log: memoryLog() }, { socketPath }, services)

  t.test('is for its owner only, and gone after the stop', async (t) => {
    const { server, socketPath, connection } = await serve(t, echoing)
    t.equal(statSync(socketPath).mode & 0o777, 0o600)
    t.equal(statSync(join(socketPath, '..')).mode & 0o777, 0o700)
    t.equal((await connection.client(EchoService).echo({ message: 'a' })).message, 'a')
    await server.stop()
    await server.stop()
    t.notOk(existsSync(socketPath))
  })

  t.test('serves again after stop and start, on the connection of before', async (t) => {
    const { server, connection } = await serve(t, echoing)
    const echo = connection.client(EchoService)
    await echo.echo({})
    await server.stop()
    await throwsReason(t, 'NOT_STARTED', () => echo.echo({}))
    await server.start()
    await until('it answers again', () => echo.echo({ message: 'b' }).catch(() => undefined))
  })

  t.test('replaces one that nobody listens on', async (t) => {
    const directory = tempDir(t)
    const socketPath = join(directory, 'api.sock')
    const dead = await leaveStaleSocket(socketPath)
    t.teardown(() => dead.close())
    t.ok(existsSync(socketPath))
    const server = serverOn(socketPath)
    t.teardown(() => server.stop())
    await server.start()
    t.equal(statSync(socketPath).mode & 0o777, 0o600)
    await server.stop()
    t.same(
      readdirSync(directory).filter((name) => name === 'api.sock'),
      [],
    )
  })

  t.test('is left alone when another process listens on it, or it is no socket', async (t) => {
    const { socketPath, connection } = await serve(t, echoing)
    const second = serverOn(socketPath)
    await throwsReason(t, 'NODE_EXISTS', () => second.start())
    await second.stop()
    t.ok(await connection.client(EchoService).echo({}), 'the first one still answers')

    const file = join(tempDir(t), 'precious')
    writeFileSync(file, 'data')
    const third = serverOn(file)
    await throwsReason(t, 'CONFIG_INVALID', () => third.start())
    await third.stop()
    t.ok(existsSync(file))
  })

  t.test('that cannot be made is a fault of the configuration', async (t) => {
    const directory = tempDir(t)
    const long = serverOn(join(directory, 'x'.repeat(120)))
    const error = await throwsReason(t, 'CONFIG_INVALID', () => long.start())
    t.match(error?.message, 'choose a shorter data directory')
    await long.stop()

    writeFileSync(join(directory, 'file'), '')
    const under = serverOn(join(directory, 'file', 'api.sock'))
    await throwsReason(t, 'CONFIG_INVALID', () => under.start())
    await under.stop()

    if (process.getuid?.() === 0) return
    chmodSync(directory, 0o500)
    const forbidden = serverOn(join(directory, 'api.sock'))
    await throwsReason(t, 'CONFIG_INVALID', () => forbidden.start())
    await forbidden.stop()
  })
})

t.test('stop', async (t) => {
  t.test('lets a call finish', async (t) => {
    let go = (): void => undefined
    let begun = false
    const { server, echo } = await serveEcho(t, {
      async echo() {
        begun = true
        await new Promise<void>((resolve) => {
          go = resolve
        })
        return { message: 'finished' }
      },
    })
    const call = echo.echo({})
    await until('the call runs', () => begun)
    const stopped = server.stop()
    go()
    t.equal((await call).message, 'finished')
    await stopped
  })

  t.test('ends a call that goes on for ever, and waits for its handler', async (t) => {
    let ended = false
    const { server, echo } = await serveEcho(t, {
      async *repeat(_request, { signal }) {
        yield { number: 1 }
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
        ended = true
      },
    })
    let stopped: Promise<void> | undefined
    await throwsReason(t, 'NODE_DRAINING', async () => {
      for await (const { number } of echo.repeat({})) {
        t.equal(number, 1)
        stopped ??= server.stop()
      }
    })
    await stopped
    t.ok(ended, 'the handler has ended')
  })
})

t.test('a stock gRPC client sees standard status, text and details', async (t) => {
  const { socketPath } = await serveEcho(t, {
    async echo() {
      throw new HsuError('UNIT_NOT_FOUND', "no unit 'é'")
    },
  })
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure())
  t.teardown(() => client.close())
  const identity = (bytes: Buffer): Buffer => bytes
  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest('/echo.v1.EchoService/Echo', identity, identity, Buffer.alloc(0), (failed) =>
      resolve(failed),
    )
  })
  t.match(error, { code: 5, details: "no unit 'é'" })
  t.equal(error?.metadata.get('grpc-status-details-bin').length, 1)
})

t.test('garbage on the socket ends that connection and nothing else', async (t) => {
  const { socketPath, echo } = await serveEcho(t, { echo: async ({ message }) => ({ message }) })
  const socket = dial(socketPath)
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(100))
  await new Promise((resolve) => socket.once('close', resolve))
  t.equal((await echo.echo({ message: 'still here' })).message, 'still here')
})

/** What a killed process leaves behind: the file of a socket that nobody listens on. */
async function leaveStaleSocket(path: string): Promise<TcpServer> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(`${path}.old`, resolve))
  renameSync(`${path}.old`, path)
  await new Promise((resolve) => server.close(resolve))
  return server
}
