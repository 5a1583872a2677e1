import t from 'tap'
import { aborted } from '../../../src/base/abort.ts'
import { mergeStreams, type OpenStream } from '../../../src/node/merge-streams.ts'

const never = new AbortController().signal

async function collect<T>(items: AsyncIterable<T>, atMost = Infinity): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) {
    all.push(item)
    if (all.length >= atMost) break
  }
  return all
}

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
