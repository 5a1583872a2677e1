import { connect, createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { HsuError } from '../../src/base/error.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { createTcpDoor } from '../../src/rpc/tcp/tcp-door.ts'
import type { TcpTarget } from '../../src/rpc/tcp/tcp-connections.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { memoryLog } from '../support/memory-log.ts'
import { until } from '../support/until.ts'

const HOLD_MS = 5_000

/** A program that sends back what it gets, and its own end once it has got one. */
async function echoServer(t: Test): Promise<{ readonly address: string; readonly server: Server }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return { address: `127.0.0.1:${port}`, server }
}

async function rig(t: Test, wake: () => Promise<TcpTarget>, holdMs = HOLD_MS) {
  const seen = { wakes: 0, open: 0, total: 0, refused: [] as HsuError[], target: undefined as TcpTarget | undefined }
  const door = createTcpDoor(
    {
      ...{ clock: systemClock, random: seeded(1), log: memoryLog() },
      pick: () => seen.target,
      async wake() {
        seen.wakes += 1
        seen.target = await wake()
      },
      count(_instance, connections) {
        seen.open += connections
        if (connections > 0) seen.total += 1
      },
      refused: (error) => seen.refused.push(error),
    },
    { unit: 'echo', listen: '127.0.0.1:0', holdMs: () => holdMs },
  )
  await door.start()
  t.teardown(() => door.stop())
  return { door, seen, port: Number(door.address().split(':')[1]) }
}

/** Sends a text and its end; resolves with all that comes back, or how the connection broke. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let heard = ''
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.once('end', () => resolve(heard))
    socket.end(text)
  })
}

t.test(
  'however many connections come first, the unit is started once, and each gets its answer after its own end',
  async (t) => {
    const { address } = await echoServer(t)
    let started: () => void = () => undefined
    const starting = new Promise<void>((resolve) => (started = resolve))
    const { seen, port } = await rig(t, async () => {
      await starting
      return { address, instance: 'echo-0-a' }
    })
    const texts = Array.from({ length: 100 }, (_, index) => `hello ${index}`)
    const answers = Promise.all(texts.map((text) => exchange(port, text)))
    await until('the start', () => seen.wakes > 0)
    started()
    t.same(await answers, texts)
    t.equal(seen.wakes, 1)
    t.equal(seen.total, 100)
    await until('none to be counted', () => seen.open === 0)
    t.same(seen.refused, [])
  },
)

t.test('a large stream passes whole, whatever the pace of its ends', async (t) => {
  const { address } = await echoServer(t)
  const { seen, port } = await rig(t, async () => ({ address, instance: 'echo-0-a' }))
  const text = 'x'.repeat(8 * 1024 * 1024)
  t.equal((await exchange(port, text)).length, text.length)
  await until('none to be counted', () => seen.open === 0)
})

t.test('a start that fails resets its connections and says why', async (t) => {
  const { seen, port } = await rig(t, async () => {
    throw new HsuError('WAKE_FAILED', 'exited with code 3')
  })
  const ends = await Promise.all([1, 2, 3].map(() => exchange(port, 'hello')))
  t.same(new Set(ends), new Set(['ECONNRESET']))
  t.same(new Set(seen.refused.map(({ message }) => message)), new Set(['exited with code 3']))
  t.equal(seen.refused.length, 3)
  t.equal(seen.wakes, 1)
})

t.test(
  'one that is ready and does not listen yet is tried again; one that never does is given up in time',
  async (t) => {
    const { address, server } = await echoServer(t)
    await new Promise((resolve) => server.close(resolve))
    const target = { address, instance: 'echo-0-a' }
    const { port, seen } = await rig(t, async () => target)
    const answer = exchange(port, 'hello')
    await until('an attempt', () => seen.total > 0)
    server.listen(Number(address.split(':')[1]), '127.0.0.1')
    t.equal(await answer, 'hello')

    server.close()
    const hasty = await rig(t, async () => target, 200)
    t.equal(await exchange(hasty.port, 'hello'), 'ECONNRESET')
    t.match(hasty.seen.refused, [{ message: /takes no connection at .*ECONNREFUSED/ }])
  },
)

t.test('a connection that breaks on one side is reset on the other', async (t) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    sockets.push(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port: own } = server.address() as { port: number }
  const { port, seen } = await rig(t, async () => ({ address: `127.0.0.1:${own}`, instance: 'echo-0-a' }))
  const socket = connect(port, '127.0.0.1')
  const broken = new Promise<string | undefined>((resolve) =>
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)),
  )
  await until('it to arrive', () => sockets.length === 1)
  sockets[0]?.resetAndDestroy()
  t.equal(await broken, 'ECONNRESET')

  const other = connect(port, '127.0.0.1')
  other.on('error', () => undefined)
  await until('it to arrive', () => sockets.length === 2)
  const gone = new Promise<void>((resolve) => sockets[1]?.once('close', () => resolve()))
  other.resetAndDestroy()
  await gone
  await until('none to be counted', () => seen.open === 0)
})
