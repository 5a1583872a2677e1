import type { Test } from 'tap'
import type { Transport } from '../../src/mesh/transport.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

/** Two transports of one mesh, not started and without handlers; the suite starts them and makes them known to each other. */
export interface TransportPair {
  readonly a: Transport
  readonly b: Transport
  /** For a transport on a simulated clock: lets a little time pass. Left out: real time passes by itself. */
  readonly advance?: (ms: number) => Promise<void>
}

interface Heard {
  readonly requests: { from: string; text: string }[]
  readonly broadcasts: { from: string; text: string }[]
  readonly connected: string[]
  readonly disconnected: string[]
}

type Answer = (from: string, bytes: Uint8Array) => Promise<Uint8Array>

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const never = (): AbortSignal => new AbortController().signal

/** What every `Transport` must do. The factory registers its own teardown; stopping twice must do no harm. */
export async function transportContract(t: Test, make: (t: Test) => Promise<TransportPair>): Promise<void> {
  t.test('both ends learn of the connection once, by the right id', async (t) => {
    const { a, b, heardByA, heardByB, eventually } = await connectedPair(t, make)
    t.same(a.connected(), [b.nodeId])
    t.same(b.connected(), [a.nodeId])
    await eventually('both were told', () => heardByA.connected.length > 0 && heardByB.connected.length > 0)
    t.same([heardByA.connected, heardByB.connected], [[b.nodeId], [a.nodeId]])
    t.ok(a.addresses().length > 0)
  })

  t.test('a request reaches the handler and its answer comes back, both ways and many at a time', async (t) => {
    const { a, b, heardByB, run } = await connectedPair(t, make)
    t.equal(text(await run(a.request(b.nodeId, bytes('hello'), never()))), 'echo hello')
    t.same(heardByB.requests, [{ from: a.nodeId, text: 'hello' }])
    const numbers = Array.from({ length: 20 }, (_, index) => `${index}`)
    const answers = await run(Promise.all(numbers.map((n) => b.request(a.nodeId, bytes(n), never()))))
    t.same(
      answers.map(text),
      numbers.map((n) => `echo ${n}`),
    )
  })

  t.test('an empty and a large message arrive as they were sent', async (t) => {
    const { a, b, run } = await connectedPair(t, make)
    t.equal(text(await run(a.request(b.nodeId, new Uint8Array(), never()))), 'echo ')
    const large = 'x'.repeat(512 * 1024)
    t.equal(text(await run(a.request(b.nodeId, bytes(large), never()))), `echo ${large}`)
  })

  t.test('a request to nobody we are connected to fails at once', async (t) => {
    const { a, run } = await connectedPair(t, make)
    const stranger = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
    await throwsReason(t, 'NODE_UNREACHABLE', () => run(a.request(stranger, bytes('x'), never())))
  })

  t.test('a request ends when its signal aborts, before or during the wait', async (t) => {
    const { a, b, run } = await connectedPair(t, make, { answerOfB: () => new Promise(() => undefined) })
    await throwsReason(t, 'TIMED_OUT', () => run(a.request(b.nodeId, bytes('x'), AbortSignal.abort())))
    const abort = new AbortController()
    const waiting = a.request(b.nodeId, bytes('x'), abort.signal)
    waiting.catch(() => undefined)
    await run(Promise.resolve())
    abort.abort()
    await throwsReason(t, 'TIMED_OUT', () => run(waiting))
  })

  t.test('a handler that fails ends that request and nothing else', async (t) => {
    const { a, b, run } = await connectedPair(t, make, {
      answerOfB: async (_, question) => {
        if (text(question) === 'bad') throw new Error('no')
        return bytes('fine')
      },
    })
    await throwsReason(t, 'NODE_UNREACHABLE', () => run(a.request(b.nodeId, bytes('bad'), never())))
    t.equal(text(await run(a.request(b.nodeId, bytes('good'), never()))), 'fine')
    t.same(a.connected(), [b.nodeId])
  })

  t.test('a broadcast reaches the other with its author, and not oneself', async (t) => {
    const { a, b, heardByA, heardByB, eventually } = await connectedPair(t, make)
    a.broadcast(bytes('news'))
    await eventually('b hears it', () => heardByB.broadcasts.length > 0)
    b.broadcast(bytes('more'))
    await eventually('a hears it', () => heardByA.broadcasts.length > 0)
    t.same(heardByB.broadcasts[0], { from: a.nodeId, text: 'news' })
    t.same(heardByA.broadcasts[0], { from: b.nodeId, text: 'more' })
    t.notOk(heardByA.broadcasts.some(({ from }) => from === a.nodeId))
  })

  t.test('when one end stops the other is told once, and what was under way fails', async (t) => {
    const pair = await connectedPair(t, make, { answerOfB: () => new Promise(() => undefined) })
    const { a, b, heardByA, eventually, run } = pair
    const waiting = a.request(b.nodeId, bytes('x'), never())
    waiting.catch(() => undefined)
    await run(b.stop())
    await eventually('a is told', () => heardByA.disconnected.length > 0)
    t.same(heardByA.disconnected, [b.nodeId])
    t.same(a.connected(), [])
    await throwsReason(t, 'NODE_UNREACHABLE', () => run(waiting))
    await throwsReason(t, 'NODE_UNREACHABLE', () => run(a.request(b.nodeId, bytes('x'), never())))
  })

  t.test('stopping twice, and using what is stopped, does no harm', async (t) => {
    const { a, b, run } = await connectedPair(t, make)
    await run(a.stop())
    await run(a.stop())
    a.broadcast(bytes('x'))
    a.forget(b.nodeId)
    t.same(a.connected(), [])
    await throwsReason(t, 'NODE_UNREACHABLE', () => run(a.request(b.nodeId, bytes('x'), never())))
  })
}

async function connectedPair(
  t: Test,
  make: (t: Test) => Promise<TransportPair>,
  { answerOfB = echo }: { answerOfB?: Answer } = {},
) {
  const { a, b, advance } = await make(t)
  const heardByA = record(a, echo)
  const heardByB = record(b, answerOfB)
  const step = async (): Promise<void> => advance?.(5)

  /** Waits for something that needs time to pass. */
  async function run<T>(task: Promise<T>): Promise<T> {
    let ended = false
    const end = (): void => {
      ended = true
    }
    task.then(end, end)
    await until('it ended', async () => {
      await step()
      return ended
    })
    return task
  }
  const eventually = (what: string, holds: () => boolean): Promise<unknown> =>
    until(what, async () => {
      await step()
      return holds()
    })

  t.teardown(async () => {
    await run(Promise.all([a.stop(), b.stop()]))
  })
  await run(a.start())
  await run(b.start())
  a.learn(b.nodeId, b.addresses())
  b.learn(a.nodeId, a.addresses())
  await eventually('they are connected', () => a.connected().length > 0 && b.connected().length > 0)
  return { a, b, heardByA, heardByB, run, eventually }
}

function record(transport: Transport, answer: Answer): Heard {
  const heard: Heard = { requests: [], broadcasts: [], connected: [], disconnected: [] }
  transport.handle({
    onRequest(from, question) {
      heard.requests.push({ from, text: text(question) })
      return answer(from, question)
    },
    onBroadcast: (from, news) => heard.broadcasts.push({ from, text: text(news) }),
    onConnected: (peer) => heard.connected.push(peer),
    onDisconnected: (peer) => heard.disconnected.push(peer),
  })
  return heard
}

async function echo(_: string, question: Uint8Array): Promise<Uint8Array> {
  return bytes(`echo ${text(question)}`)
}
