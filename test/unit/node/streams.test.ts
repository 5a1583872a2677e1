import t from 'tap'
import { aborted } from '../../../src/base/abort.ts'
import { createEventLog, type NodeEvent } from '../../../src/node/event-log.ts'
import { mergeStreams, type OpenStream } from '../../../src/node/merge-streams.ts'

const event = (number: number, unit = 'api'): NodeEvent => ({
  wallMs: number,
  node: 'a',
  unit,
  instance: '',
  type: 'unit.started',
  reason: '',
  details: {},
  cause: '',
  id: `0-${number}`,
  causedBy: '',
  actor: '',
})
const ALL = { units: [], follow: false, tail: undefined, sinceMs: undefined }
const never = new AbortController().signal

async function collect<T>(items: AsyncIterable<T>, atMost = Infinity): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) {
    all.push(item)
    if (all.length >= atMost) break
  }
  return all
}

t.test('the event log keeps the last events and filters them', async (t) => {
  const log = createEventLog(3)
  for (const number of [1, 2, 3, 4]) log.append(event(number, number === 3 ? 'db' : 'api'))
  const times = async (query: object): Promise<number[]> =>
    (await collect(log.query({ ...ALL, ...query }, never))).map(({ wallMs }) => wallMs)
  t.same(await times({}), [2, 3, 4])
  t.same(await times({ units: ['api'] }), [2, 4])
  t.same(await times({ tail: 1 }), [4])
  t.same(await times({ tail: 0 }), [])
  t.same(await times({ sinceMs: 3 }), [3, 4])
})

t.test('a follower gets what is kept and then what comes, without a gap, until it is told to stop', async (t) => {
  const log = createEventLog(10)
  log.append(event(1))
  const stop = new AbortController()
  const following = collect(log.query({ ...ALL, follow: true }, stop.signal))
  await Promise.resolve()
  log.append(event(2))
  log.append(event(3))
  stop.abort()
  t.same(
    (await following).map(({ wallMs }) => wallMs),
    [1, 2, 3],
  )
})

t.test('merged streams', async (t) => {
  const list = (...items: string[]): OpenStream<string> =>
    async function* () {
      yield* items
    }
  const hanging: OpenStream<string> = async function* (signal) {
    yield 'first'
    await aborted(signal)
  }
  const failing: OpenStream<string> = async function* () {
    yield 'last words'
    throw new Error('gone')
  }

  t.test('give the items of all and end when all have ended', async (t) => {
    const items = await collect(mergeStreams([list('a', 'b'), list(), list('c')], never, () => t.fail()))
    t.same(items.toSorted(), ['a', 'b', 'c'])
    t.same(
      items.filter((item) => item !== 'c'),
      ['a', 'b'],
      'each in its own order',
    )
  })

  t.test('a source that fails is reported and the others go on', async (t) => {
    const failures: [string, number][] = []
    const onError = (error: unknown, index: number): void => void failures.push([(error as Error).message, index])
    t.same(await collect(mergeStreams([failing, list('a')], never, onError)), ['last words', 'a'])
    t.same(failures, [['gone', 0]])
  })

  t.test('a reader that leaves ends every source, and so does the signal', async (t) => {
    t.same(
      await collect(
        mergeStreams([hanging, hanging], never, () => t.fail()),
        1,
      ),
      ['first'],
    )
    const stop = new AbortController()
    const all = collect(mergeStreams([hanging], stop.signal, () => t.fail()))
    stop.abort()
    t.ok((await all).length <= 1)
  })

  t.test('a source is not read further than its reader has taken', async (t) => {
    let read = 0
    const counting: OpenStream<number> = async function* () {
      while (read < 100) yield read++
    }
    await collect(
      mergeStreams([counting], never, () => t.fail()),
      3,
    )
    t.ok(read <= 5, `${read} read for 3 taken`)
  })
})
