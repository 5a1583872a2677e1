import t from 'tap'
import { createTaskGroup } from '../../../src/base/task-group.ts'
import { aborted } from '../../../src/base/abort.ts'
import { LoggedLines } from '../../../src/process/logged-lines.ts'
import type { ReadLines } from '../../../src/process/logs/line-watch.ts'
import type { LogLine, Output } from '../../../src/process/output.ts'
import type { InstanceStatus } from '../../../src/process/status.ts'
import { settle } from '../../../src/sim/sim-clock.ts'
import { World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const statusOf = (unit: string, instance: string): InstanceStatus =>
  ({ unit, instance, startedAtMs: 1 }) as Partial<InstanceStatus> as InstanceStatus

/** Output in which nothing is ever written, and how many read it. */
function silence(): { readonly read: Output['query']; readonly readers: () => number } {
  let readers = 0
  const read = async function* (_query: unknown, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined> {
    readers += 1
    try {
      await aborted(signal)
    } finally {
      readers -= 1
    }
  }
  return { read, readers: () => readers }
}

t.test('nothing is kept of instances that are gone, nor of lines that nobody waits for any more', async (t) => {
  const { read, readers } = silence()
  const tasks = createTaskGroup((error) => t.fail(String(error)))
  const lines = new LoggedLines({ read, tasks, sinceMs: 0, onMatch: () => t.fail('nothing was written') })
  const ask = (instance: string, line: string): boolean => lines.has(statusOf('db', instance), line)
  for (const instance of ['db-0-1', 'db-1-1']) for (const line of ['ready', 'listens']) t.notOk(ask(instance, line))
  t.notOk(ask('db-0-1', 'ready'), 'asked again, it is looked for once')
  await settle()
  t.same([lines.size, readers()], [4, 4])

  lines.retain('db', { instances: ['db-1-1'] })
  await settle()
  t.same([lines.size, readers()], [2, 2])
  lines.retain('db', { lines: new Set(['listens']) })
  await settle()
  t.same([lines.size, readers()], [1, 1])
  lines.retain('other', { instances: [] })
  t.ok(lines.watches('db'))
  lines.retain('db', { instances: [] })
  await settle()
  t.same([lines.size, readers(), lines.watches('db')], [0, 0, false])
  await tasks.stop()
})

t.test('a look that ended without the line is another one when asked again', async (t) => {
  let looks = 0
  const read: ReadLines = async function* () {
    looks += 1
  }
  const tasks = createTaskGroup((error) => t.fail(String(error)))
  const lines = new LoggedLines({ read, tasks, sinceMs: 0, onMatch: () => t.fail('nothing was written') })
  lines.has(statusOf('db', 'db-0-1'), 'ready')
  await settle()
  t.equal(lines.size, 0)
  lines.has(statusOf('db', 'db-0-1'), 'ready')
  await settle()
  t.equal(looks, 2)
  await tasks.stop()
})

t.test('a unit that waits for another line, or for none, or is gone, has no reader of the one before', async (t) => {
  const world = new World(t)
  const { read, readers } = silence()
  const output = {
    capture: () => ({ finish: async () => true, close: async () => undefined }),
    query: read,
    batches: async function* () {
      // Nothing is forwarded.
    },
    close: async () => undefined,
  }
  const run = ['/bin/serve']
  const waiting = (line: string) =>
    unitSpec('api', { run, depends_on: { db: { condition: 'log' as const, line, on_fail: 'keep' as const } } })
  const db = unitSpec('db', { run })
  const { supervisor } = await world.supervise([db, waiting('one')], { output })
  await world.clock.advance(10)
  t.equal(readers(), 1)
  for (const line of ['two', 'three']) {
    await supervisor.apply([db, waiting(line)])
    await world.clock.advance(10)
    t.equal(readers(), 1, line)
  }
  await supervisor.apply([db, unitSpec('api', { run })])
  await world.clock.advance(10)
  t.equal(readers(), 0)
  await supervisor.apply([db, waiting('four')])
  await world.clock.advance(10)
  await supervisor.apply([db])
  await world.clock.advance(10)
  t.equal(readers(), 0)
})
