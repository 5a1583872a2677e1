import t from 'tap'
import { aborted } from '../../../src/base/abort.ts'
import { HsuError } from '../../../src/base/error.ts'
import { fanOut } from '../../../src/node/fan-out.ts'
import { mergeStreams, type OpenStream } from '../../../src/node/merge-streams.ts'
import type { NodeCore } from '../../../src/node/node-core.ts'
import { type CallOptions, Scope } from '../../../src/rpc/index.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { until } from '../../support/until.ts'

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

  t.test('sources that come later are read too, and counted on', async (t) => {
    const more = async function* () {
      yield list('c')
      await new Promise(setImmediate)
      yield failing
    }
    const failures: number[] = []
    const items = mergeStreams([list('a'), list('b')], never, (_error, index) => failures.push(index), more)
    t.same((await collect(items)).toSorted(), ['a', 'b', 'c', 'last words'])
    t.same(failures, [3])
  })
})

t.test('a mesh-wide follower', async (t) => {
  const setUp = (ownFails: boolean) => {
    const peers = [{ nodeId: 'id-b', name: 'b' }]
    const clock = new SimClock()
    const log = memoryLog()
    const asked: [string | undefined, boolean][] = []
    const of = {
      own: async function* (signal: AbortSignal) {
        yield 1
        if (ownFails) throw new HsuError('UNIT_NOT_FOUND', 'not here')
        await aborted(signal)
      },
      ofPeer: async function* ({ metadata }: CallOptions, late: boolean) {
        yield* [late ? 3 : 2]
        asked.push([metadata?.['hsu-node'], late])
        throw new HsuError('UNIT_NOT_FOUND', 'not there')
      },
      keyOf: (item: number) => item,
      takesNewcomers: true,
    }
    const core = { peers: () => [...peers], clock, log } as unknown as NodeCore
    const items = fanOut(core, { units: ['api'], scope: Scope.MESH, follow: true }, never, of)
    return { peers, clock, log, asked, items }
  }

  t.test('takes in nodes that come later, each once', async (t) => {
    const { peers, clock, asked, items } = setUp(false)
    const taken: number[] = []
    const reading = (async () => {
      for await (const item of items) if (taken.push(item) === 3) return
    })()
    await until('the past', async () => {
      await clock.advance(100)
      return taken.length === 2
    })
    await clock.advance(5_000)
    peers.push({ nodeId: 'id-c', name: 'c' })
    await clock.advance(5_000)
    await reading
    t.same(asked, [
      ['id-b', false],
      ['id-c', true],
    ])
    t.equal(clock.sleeping, 0)
  })

  t.test('ends when no node knows the unit', async (t) => {
    const { clock, items } = setUp(true)
    const failure = throwsReason(t, 'UNIT_NOT_FOUND', () => collect(items))
    await clock.advance(1_000)
    await failure
  })
})
