import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { silentLog } from '../../../src/base/log.ts'
import { type Transition, watchUnmanaged } from '../../../src/process/attach.ts'
import { findProcess, notFound, type Sighting } from '../../../src/process/find.ts'
import { parseMainPid, systemctlMainPid } from '../../../src/process/find-service.ts'
import type { ProcessIdentity } from '../../../src/process/identity.ts'
import type { RunCommand } from '../../../src/process/run-command.ts'
import type { FindConfig } from '../../../src/process/config.ts'
import { type FakeTable, fakeTable, processInfo } from '../../support/fake-table.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

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
        { pid: 10, argv: ['a', '1'], startedAtMs: undefined },
        { pid: 11, argv: ['a', '2'], startedAtMs: undefined },
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

t.test('by systemd service', async (t) => {
  const table = fakeTable([
    processInfo({ pid: 1, ppid: 0, cgroup: '0::/init.scope\n' }),
    processInfo({ pid: 10, cgroup: '0::/system.slice/a.service\n' }),
    processInfo({ pid: 11, ppid: 10, cgroup: '0::/system.slice/a.service/worker\n' }),
    processInfo({ pid: 20, cgroup: '12:pids:/system.slice/b.service\n1:name=systemd:/system.slice/b.service\n' }),
    processInfo({ pid: 30, cgroup: '0::/system.slice/a.service.d\n' }),
  ])
  const asked: string[] = []
  const lookWith = (service: string, mainPid: number | undefined): Promise<Sighting> => {
    const mainPidOf = async (name: string): Promise<number | undefined> => {
      asked.push(name)
      return mainPid
    }
    return findProcess({ service }, { table, selfPid: SELF, baseDir: '/', mainPidOf })
  }

  t.test('the main process that systemd names is meant', async (t) => {
    t.match(await lookWith('a', 11), found(11))
    t.same(asked.splice(0), ['a.service'])
    t.match(await lookWith('x.service', 12), { kind: 'absent' }, 'one that is gone is nobody')
  })
  t.test('without an answer, the root of those in the control group is', async (t) => {
    t.match(await lookWith('a.service', undefined), found(10))
    t.match(await look(table, { service: 'b' }), found(20), 'version 1 of control groups too')
    t.match(await look(table, { service: 'c' }), { kind: 'absent', reason: /service c\.service has no process/ })
  })
  t.test('what systemctl prints is read; 0 is no process', async (t) => {
    t.equal(parseMainPid('MainPID=4711\n'), 4711)
    t.equal(parseMainPid('MainPID=0\n'), undefined)
    t.equal(parseMainPid(''), undefined)
  })
  t.test('a host without systemd is asked, and does not answer', async (t) => {
    const refuses: RunCommand = async () => ({ exit: { code: 1 }, stdout: 'not booted with systemd' })
    const lacks: RunCommand = async () => {
      throw new Error('cannot run systemctl')
    }
    const has: RunCommand = async (argv) => ({
      exit: { code: 0 },
      stdout: argv.includes('a.service') ? 'MainPID=10' : '',
    })
    for (const run of [refuses, lacks]) t.equal(await systemctlMainPid(run, {}, silentLog)('a.service'), undefined)
    t.equal(await systemctlMainPid(has, {}, silentLog)('a.service'), 10)
  })
})

t.test('all ways to one process give one identity', async (t) => {
  const dir = t.testdir({ 'a.pid': '10' })
  const cgroup = '0::/system.slice/a.service'
  const table = fakeTable([processInfo({ pid: 10, name: 'a', cgroup, startedAtMs: Date.now() - 60_000 })])
  table.open = [{ protocol: 'tcp', address: '::', port: 80, pids: [10] }]
  const ways: FindConfig[] = [{ pid: 10 }, { pid_file: 'a.pid' }, { name: 'a' }, { port: 'tcp/80' }, { service: 'a' }]
  const seen = await Promise.all(ways.map((find) => look(table, find, dir)))
  for (const sighting of seen) t.same(sighting, seen[0])
  t.match(seen[0], found(10))
})

t.test('whoever asks is not meant', async (t) => {
  const table = fakeTable([processInfo({ pid: 10, name: 'a' }), processInfo({ pid: 11, name: 'a' })])
  const seams = { table, selfPid: SELF, baseDir: '/', notPids: [11] }
  t.match(await findProcess({ name: 'a' }, seams), found(10))
})

t.test('a look that fails says how it looked, and whom it met', async (t) => {
  const absent = notFound({ name: 'a' }, { kind: 'absent', reason: "no process is named 'a'" })
  t.match(absent, { reason: 'PROCESS_NOT_FOUND', details: { method: 'name', sought: 'a' } })
  t.equal(absent.message, "no process found by name: no process is named 'a'")
  const candidates = Array.from({ length: 12 }, (_, n) => ({
    pid: n + 1,
    argv: ['a', 'x'.repeat(100)],
    startedAtMs: 0,
  }))
  const ambiguous = notFound({ port: 'tcp/80' }, { kind: 'ambiguous', candidates })
  t.match(ambiguous, { reason: 'PROCESS_AMBIGUOUS', details: { method: 'port', pids: '1 2 3 4 5 6 7 8 9 10 11 12' } })
  t.match(ambiguous.message, /^12 processes match: pid 1, started 1970-01-01T00:00:00\.000Z: a x+\.\.\.; pid 2/)
  t.match(ambiguous.message, /; and 2 more; add args/)
})

t.test('watching', async (t) => {
  const watch = (table: FakeTable, find: FindConfig, baseDir = '/', known?: ProcessIdentity) => {
    const clock = new SimClock()
    const stop = new AbortController()
    const seen: Transition[] = []
    const seams = { table, selfPid: SELF, baseDir, clock }
    const ended = watchUnmanaged(seams, { find, known }, (transition) => seen.push(transition), stop.signal)
    const kinds = (): string[] => seen.splice(0).map(({ kind }) => kind)
    return { clock, kinds, stop, ended }
  }

  t.test('what was found before is found again, although others match, while it lives', async (t) => {
    const table = fakeTable([processInfo({ pid: 10, name: 'a' }), processInfo({ pid: 11, name: 'a' })])
    const known = found(11).identity
    const again = watch(table, { name: 'a' }, '/', known)
    const other = watch(table, { name: 'a' }, '/', { ...known, startTime: 'earlier' })
    await Promise.all([again.clock.advance(0), other.clock.advance(0)])
    t.same(again.kinds(), ['found'])
    t.same(other.kinds(), ['ambiguous'])
    table.processes = [processInfo({ pid: 10, name: 'a' })]
    await again.clock.advance(2_000)
    t.same(again.kinds(), ['lost', 'found'], 'and when it is gone, another is')
    for (const { stop, ended } of [again, other]) {
      stop.abort()
      await ended
    }
  })

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

  t.test('a bare pid is never taken for the next process of that pid', async (t) => {
    const table = fakeTable([processInfo({ pid: 10 })])
    const { clock, kinds, stop, ended } = watch(table, { pid: 10 })
    await clock.advance(0)
    t.same(kinds(), ['found'])
    table.processes = [processInfo({ pid: 10, startTime: 'later' })]
    await clock.advance(20_000)
    t.same(kinds(), ['lost', 'absent'])
    stop.abort()
    await ended
  })

  t.test('nor is it by a node that only knows from an earlier one who was meant', async (t) => {
    const table = fakeTable([processInfo({ pid: 10, startTime: 'later' })])
    const pinned = { pid: 10, startTime: 'start-10', bootId: 'boot-1' }
    const { clock, kinds, stop, ended } = watch(table, { pid: 10 }, '/', pinned)
    await clock.advance(10_000)
    t.same(kinds(), ['absent'])
    table.processes = [processInfo({ pid: 10 })]
    await clock.advance(2_000)
    t.same(kinds(), ['found'])
    stop.abort()
    await ended
  })

  t.test('the same pid with another start is another process', async (t) => {
    const table = fakeTable([processInfo({ pid: 10, name: 'a' })])
    const { clock, kinds, stop, ended } = watch(table, { name: 'a' })
    await clock.advance(0)
    t.same(kinds(), ['found'])
    table.processes = [processInfo({ pid: 10, name: 'a', startTime: 'later' })]
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
    const table = fakeTable()
    table.listeners = () => Promise.reject(new HsuError('UNSUPPORTED', 'not told here'))
    const { clock, kinds, stop, ended } = watch(table, { port: 'tcp/80' })
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
