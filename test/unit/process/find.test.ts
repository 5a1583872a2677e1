import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Transition, watchUnmanaged } from '../../../src/process/attach.ts'
import { findProcess, type Sighting } from '../../../src/process/find.ts'
import type { FindConfig } from '../../../src/process/config.ts'
import { type FakeTable, fakeTable, processInfo } from '../../support/fake-table.ts'
import { SimClock } from '../../support/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const SELF = 999
const look = (table: FakeTable, find: FindConfig, baseDir = '/'): Promise<Sighting> =>
  findProcess(find, { table, selfPid: SELF, baseDir })
const found = (pid: number) => ({ kind: 'found', identity: { pid, startTime: `start-${pid}`, bootId: 'boot-1' } })

t.test('by pid', async (t) => {
  const table = fakeTable([processInfo({ pid: 10 }), processInfo({ pid: 11, state: 'Z' })])
  t.match(await look(table, { pid: 10 }), found(10))
  t.match(await look(table, { pid: 11 }), { kind: 'absent' }, 'a zombie is no process')
  t.match(await look(table, { pid: 12 }), { kind: 'absent', reason: 'no process has pid 12' })
})

t.test('by name and arguments', async (t) => {
  const table = fakeTable([
    processInfo({ pid: 10, name: 'postgres', argv: ['/usr/bin/postgres', '-D', '/a'] }),
    processInfo({ pid: 11, ppid: 10, name: 'postgres', argv: ['postgres: writer'] }),
    processInfo({ pid: 20, name: 'MainThread', argv: ['/usr/bin/node', 'app.js'] }),
    processInfo({ pid: 30, name: 'a-very-long-pro', argv: ['x'], executable: '/opt/a-very-long-program' }),
    processInfo({ pid: SELF, name: 'node', argv: ['node', 'app.js'] }),
  ])

  t.test('the root of a tree is found, not its workers', async (t) => {
    t.match(await look(table, { name: 'postgres' }), found(10))
  })
  t.test('the first argument and the program file count as names too', async (t) => {
    t.match(await look(table, { name: 'node' }), found(20), 'and never ourselves')
    t.match(await look(table, { name: 'a-very-long-program' }), found(30))
  })
  t.test('all arguments must be there', async (t) => {
    t.match(await look(table, { name: 'postgres', args: ['-D', '/a'] }), found(10))
    t.match(await look(table, { name: 'postgres', args: ['-D', '/b'] }), {
      kind: 'absent',
      reason: "no process is named 'postgres' with arguments -D /b",
    })
    t.match(await look(table, { name: 'postgres', args: ['writer'] }), found(11), 'the words of a rewritten title')
  })
  t.test('a worker whose parent does not match, below one that does, is still a worker', async (t) => {
    const deep = fakeTable([
      processInfo({ pid: 10, name: 'a' }),
      processInfo({ pid: 11, ppid: 10, name: 'sh' }),
      processInfo({ pid: 12, ppid: 11, name: 'a' }),
    ])
    t.match(await look(deep, { name: 'a' }), found(10))
  })
  t.test('two that match are ambiguous, and named', async (t) => {
    const twice = fakeTable([
      processInfo({ pid: 10, name: 'a', argv: ['a', '1'] }),
      processInfo({ pid: 11, name: 'a', argv: ['a', '2'] }),
    ])
    t.same(await look(twice, { name: 'a' }), {
      kind: 'ambiguous',
      candidates: [
        { pid: 10, argv: ['a', '1'] },
        { pid: 11, argv: ['a', '2'] },
      ],
    })
    t.match(await look(twice, { name: 'a', args: ['2'] }), found(11))
  })
})

t.test('by port', async (t) => {
  const table = fakeTable([
    processInfo({ pid: 1, ppid: 0 }),
    processInfo({ pid: 10 }),
    processInfo({ pid: 11, ppid: 10 }),
    processInfo({ pid: 20 }),
  ])
  const listener = { protocol: 'tcp', address: '0.0.0.0', port: 80 } as const

  t.test('the root of those that hold the socket is found', async (t) => {
    table.open = [{ ...listener, pids: [1, 10, 11] }]
    t.match(await look(table, { port: 'tcp/80' }), found(10), 'not init, which holds it for socket activation')
  })
  t.test('the protocol matters', async (t) => {
    t.match(await look(table, { port: 'udp/80' }), { kind: 'absent', reason: 'nothing listens on udp/80' })
  })
  t.test('owners in different trees are ambiguous', async (t) => {
    table.open = [
      { ...listener, pids: [10] },
      { ...listener, address: '::', pids: [20] },
    ]
    t.match(await look(table, { port: 'tcp/80' }), { kind: 'ambiguous', candidates: [{ pid: 10 }, { pid: 20 }] })
  })
  t.test('an owner we may not see is said to be one', async (t) => {
    table.open = [{ ...listener, pids: [], hidden: true }]
    t.match(await look(table, { port: 'tcp/80' }), { kind: 'absent', reason: /may not look into/ })
  })
})

t.test('by pid file', async (t) => {
  const dir = t.testdir({ 'a.pid': ' 10\n/var/lib/postgres\n', 'empty.pid': '', 'junk.pid': 'ten\n', 'gone.pid': '12' })
  const table = fakeTable([processInfo({ pid: 10, startedAtMs: Date.now() - 60_000 })])
  t.match(await look(table, { pid_file: 'a.pid' }, dir), found(10))
  t.match(await look(table, { pid_file: join(dir, 'a.pid') }), found(10))
  t.match(await look(table, { pid_file: 'empty.pid' }, dir), { kind: 'absent', reason: /holds no pid/ })
  t.match(await look(table, { pid_file: 'junk.pid' }, dir), { kind: 'absent', reason: /holds no pid/ })
  t.match(await look(table, { pid_file: 'gone.pid' }, dir), { kind: 'absent', reason: /names pid 12, which is gone/ })
  t.match(await look(table, { pid_file: 'none.pid' }, dir), { kind: 'absent', reason: /ENOENT/ })
  table.processes = [processInfo({ pid: 10, startedAtMs: Date.now() + 60_000 })]
  t.match(await look(table, { pid_file: 'a.pid' }, dir), { kind: 'absent', reason: /is stale: pid 10/ })
})

t.test('a systemd service is not supported yet, and says what to use', async (t) => {
  const error = await throwsReason(t, 'UNSUPPORTED', () => look(fakeTable(), { service: 'a.service' }))
  t.match(error?.message, /pid_file/)
})

t.test('watching', async (t) => {
  const watch = (table: FakeTable, find: FindConfig, baseDir = '/') => {
    const clock = new SimClock()
    const stop = new AbortController()
    const seen: Transition[] = []
    const seams = { table, selfPid: SELF, baseDir, clock }
    const ended = watchUnmanaged(seams, { find }, (transition) => seen.push(transition), stop.signal)
    const kinds = (): string[] => seen.splice(0).map(({ kind }) => kind)
    return { clock, kinds, stop, ended }
  }

  t.test('reports each change once, and finds the successor in the same look', async (t) => {
    const table = fakeTable()
    const { clock, kinds, stop, ended } = watch(table, { name: 'a' })
    await clock.advance(10_000)
    t.same(kinds(), ['absent'])
    table.processes = [processInfo({ pid: 10, name: 'a' })]
    await clock.advance(10_000)
    t.same(kinds(), ['found'])
    table.processes = [processInfo({ pid: 10, name: 'a' }), processInfo({ pid: 11, name: 'a' })]
    await clock.advance(10_000)
    t.same(kinds(), [], 'it stays with the one it has')
    table.processes = [processInfo({ pid: 11, name: 'a' })]
    await clock.advance(2_000)
    t.same(kinds(), ['lost', 'found'])
    table.processes = [processInfo({ pid: 12, name: 'a' }), processInfo({ pid: 13, name: 'a' })]
    await clock.advance(10_000)
    t.same(kinds(), ['lost', 'ambiguous'])
    table.processes = []
    await clock.advance(10_000)
    t.same(kinds(), ['absent'])
    stop.abort()
    await ended
    t.equal(clock.sleeping, 0)
  })

  t.test('the same pid with another start is another process', async (t) => {
    const table = fakeTable([processInfo({ pid: 10 })])
    const { clock, kinds, stop, ended } = watch(table, { pid: 10 })
    await clock.advance(0)
    t.same(kinds(), ['found'])
    table.processes = [processInfo({ pid: 10, startTime: 'later' })]
    await clock.advance(2_000)
    t.same(kinds(), ['lost', 'found'])
    stop.abort()
    await ended
  })

  t.test('not being able to look loses nothing and ends nothing', async (t) => {
    const table = fakeTable([processInfo({ pid: 10 })])
    const { clock, kinds, stop, ended } = watch(table, { pid: 10 })
    await clock.advance(0)
    table.fault = new Error('no table')
    await clock.advance(10_000)
    t.same(kinds(), ['found'])
    table.processes = []
    table.fault = undefined
    await clock.advance(2_000)
    t.same(kinds(), ['lost', 'absent'])
    stop.abort()
    await ended
  })

  t.test('what is not supported is a reason for absence', async (t) => {
    const { clock, kinds, stop, ended } = watch(fakeTable(), { service: 'x' })
    await clock.advance(10_000)
    t.same(kinds(), ['absent'])
    stop.abort()
    await ended
  })

  t.test('a pid file that appears later is noticed', async (t) => {
    const dir = t.testdir({})
    const table = fakeTable([processInfo({ pid: 10 })])
    t.match(await look(table, { pid_file: 'a.pid' }, dir), { kind: 'absent' })
    writeFileSync(join(dir, 'a.pid'), '10\n')
    t.match(await look(table, { pid_file: 'a.pid' }, dir), found(10))
  })
})
