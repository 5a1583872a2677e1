import { existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { aborted, withSignal } from '../../../src/base/abort.ts'
import { HsuError, isReason, REASONS } from '../../../src/base/error.ts'
import { background, inOrder, type Service } from '../../../src/base/lifecycle.ts'
import { pinoLog } from '../../../src/base/pino-log.ts'
import { BoundedQueue } from '../../../src/base/queue.ts'
import { sample, shuffle } from '../../../src/base/random.ts'
import { systemRandom } from '../../../src/base/system-random.ts'
import { createTopic } from '../../../src/base/topic.ts'
import { seeded } from '../../../src/sim/seeded.ts'

t.test('errors', async (t) => {
  t.test('an HsuError passes a boundary untouched, anything else becomes INTERNAL', async (t) => {
    const error = new HsuError('NO_ENDPOINT', 'no ready endpoint', { details: { service: 'echo' } })
    t.equal(HsuError.from(error), error)
    const wrapped = HsuError.from(new TypeError('boom'))
    t.match(wrapped, { reason: 'INTERNAL', message: 'boom', status: 'INTERNAL', retryable: false })
    t.equal(HsuError.from('text').message, 'text')
    t.match(error, { status: 'UNAVAILABLE', retryable: true })
  })

  t.test('only names of the catalogue are reasons', async (t) => {
    t.ok(Object.keys(REASONS).every(isReason))
    t.notOk(isReason('toString'))
  })
})

t.test('withSignal ends what it started, and leaves no listener on the outer signal', async (t) => {
  const outer = new AbortController()
  let inner: AbortSignal | undefined
  t.equal(
    await withSignal(outer.signal, async (signal) => {
      inner = signal
      t.notOk(signal.aborted)
      return 7
    }),
    7,
  )
  t.ok(inner?.aborted, 'aborted when the task ends')
  const held = withSignal(outer.signal, (signal) => aborted(signal).then(() => signal.reason as Error))
  outer.abort(new Error('outer'))
  t.match(await held, { message: 'outer' })
})

t.test('a bounded queue', async (t) => {
  t.test('forgets the oldest or refuses the newest, and counts either', async (t) => {
    const dropping = new BoundedQueue<number>(2, 'drop-oldest')
    t.same(
      [1, 2, 3].map((item) => dropping.push(item)),
      [true, true, true],
    )
    dropping.close()
    t.same(await collect(dropping), [2, 3])
    t.equal(dropping.dropped, 1)

    const refusing = new BoundedQueue<number>(2, 'reject')
    t.same(
      [1, 2, 3].map((item) => refusing.push(item)),
      [true, true, false],
    )
    refusing.close()
    t.notOk(refusing.push(4), 'closed')
    t.same(await collect(refusing), [1, 2])
  })

  t.test('a waiting consumer gets each item as it comes and ends at close', async (t) => {
    const queue = new BoundedQueue<string>(10, 'reject')
    const all = collect(queue)
    queue.push('a')
    await Promise.resolve()
    queue.push('b')
    queue.close()
    t.same(await all, ['a', 'b'])
  })
})

t.test('parts start in order and stop in reverse; a failed start takes the others down', async (t) => {
  const seen: string[] = []
  const part = (name: string, fails = false): Service => ({
    name,
    start: async () => {
      seen.push(`+${name}`)
      if (fails) throw new HsuError('SPAWN_FAILED', `${name} failed`)
    },
    stop: async () => void seen.push(`-${name}`),
  })
  const good = inOrder('all', [part('a'), part('b')])
  await good.start()
  await good.stop()
  await good.stop()
  t.same(seen.splice(0), ['+a', '+b', '-b', '-a'])
  await t.rejects(inOrder('all', [part('a'), part('b', true), part('c')]).start(), { message: 'b failed' })
  t.same(seen, ['+a', '+b', '-b', '-a'])
})

t.test('a background loop is aborted and waited for', async (t) => {
  let over = false
  const loop = background('loop', async (signal) => {
    await aborted(signal)
    await Promise.resolve()
    over = true
  })
  await loop.stop()
  await loop.start()
  await loop.stop()
  t.ok(over)
})

t.test('a topic tells every listener until it unsubscribes', async (t) => {
  const topic = createTopic<number>()
  const seen: number[] = []
  const listener = (event: number): void => void seen.push(event)
  const first = topic.subscribe(listener)
  topic.subscribe(listener)
  topic.publish(1)
  first()
  first()
  topic.publish(2)
  t.same(seen, [1, 1, 2])
})

t.test('sampling takes different items, all of them at most, the same for the same seed', async (t) => {
  const items = [1, 2, 3, 4, 5]
  t.same(sample(items, 3, seeded(7)), sample(items, 3, seeded(7)))
  t.equal(new Set(sample(items, 4, seeded(1))).size, 4)
  t.same(shuffle(items, systemRandom).toSorted(), items)
  t.same(sample([], 2, systemRandom), [])
})

t.test('the pino log writes one object a line with the message constant and the facts as fields', async (t) => {
  const path = join(t.testdir(), 'log')
  const log = pinoLog({ level: 'info', fd: openSync(path, 'w') }).with({ nodeId: 'n1' })
  log.debug('not shown')
  log.info('unit exited', { pid: 7 })
  log.error('failed', { error: new HsuError('SPAWN_FAILED', 'cannot run x', { details: { file: 'x' } }) })
  const lines = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
  t.match(lines, [
    { level: 'info', msg: 'unit exited', nodeId: 'n1', pid: 7, time: /^\d{4}-.*Z$/ },
    { level: 'error', error: { reason: 'SPAWN_FAILED', message: 'cannot run x', details: { file: 'x' } } },
  ])
})

t.test(
  'a disk that is full costs lines of the log, and nothing else',
  { skip: !existsSync('/dev/full') },
  async (t) => {
    const log = pinoLog({ level: 'info', fd: openSync('/dev/full', 'w') })
    for (let line = 0; line < 3; line += 1) t.doesNotThrow(() => log.info('lost'))
    await new Promise((resolve) => setImmediate(resolve))
  },
)

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
