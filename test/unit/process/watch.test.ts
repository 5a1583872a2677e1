import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { NewEvent } from '../../../src/process/causes.ts'
import { chokidarWatcher } from '../../../src/process/watch/chokidar-watcher.ts'
import type { FileWatcher, WatchListener, WatchRequest } from '../../../src/process/watch/file-watcher.ts'
import { fileSet } from '../../../src/process/watch/globs.ts'
import { createWatches } from '../../../src/process/watch/watches.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { settle, SimClock } from '../../../src/sim/sim-clock.ts'
import { unitSpec } from '../../support/unit-spec.ts'
import { until } from '../../support/until.ts'

t.test('globs name files as people mean them', async (t) => {
  const cases: [globs: string[], ignore: string[], yes: string[], no: string[]][] = [
    [['src/**/*.ts'], [], ['/a (b)/src/x.ts', '/a (b)/src/k/.y.ts'], ['/a (b)/x.ts', '/a (b)/src/x.js', '/c/src/x.ts']],
    [['src'], [], ['/a (b)/src/x', '/a (b)/src/k/y.ts'], ['/a (b)/srcs/x']],
    [['app.py'], [], ['/a (b)/app.py'], ['/a (b)/app.pyc']],
    [
      ['../lib/*.py', '/etc/app/*.conf'],
      [],
      ['/lib/x.py', '/etc/app/a.conf'],
      ['/a (b)/lib/x.py', '/etc/app/k/a.conf'],
    ],
    [
      ['**/*.{go,mod}'],
      ['**/*_test.go', 'gen'],
      ['/a (b)/m.go', '/a (b)/k/go.mod'],
      ['/a (b)/k/m_test.go', '/a (b)/gen/k/m.go'],
    ],
    [['.'], [], ['/a (b)/x', '/a (b)/.env'], ['/a (b)/node_modules/x/y.js', '/a (b)/k/.git/index', '/x']],
  ]
  for (const [globs, ignore, yes, no] of cases) {
    const files = fileSet('/a (b)', globs, ignore)
    for (const path of yes) t.ok(files.has(path), `${globs.join(' ')}: ${path}`)
    for (const path of no) t.notOk(files.has(path), `${globs.join(' ')}: not ${path}`)
  }
  t.same(fileSet('/w', ['src/**/*.ts', 'src/*.js', '../lib/x.py'], []).roots, ['/w/src', '/lib/x.py'])
  t.ok(fileSet('/a/node_modules/b', ['**'], []).has('/a/node_modules/b/x'), 'where the unit is does not matter')
})

interface Watched {
  readonly clock: SimClock
  readonly done: string[]
  readonly events: NewEvent[]
  readonly requests: WatchRequest[]
  readonly put: (watch: unknown) => Promise<void>
  readonly touch: (...files: string[]) => void
  readonly fail: (reason: string) => void
  readonly close: () => Promise<void>
}

/** The watches of one unit, `/app`, over a watcher that is told what changes. */
function watched(): Watched {
  const clock = new SimClock()
  const done: string[] = []
  const events: NewEvent[] = []
  const requests: WatchRequest[] = []
  let listener: WatchListener | undefined
  const watcher: FileWatcher = {
    async watch(request, heard) {
      requests.push(request)
      listener = heard
      return async () => {
        listener = undefined
      }
    },
  }
  const tell = (event: NewEvent): string => `e${events.push(event)}`
  const watches = createWatches(
    { clock, log: memoryLog(), tell, watcher: async () => watcher },
    {
      renew: (unit, reason, causedBy) => done.push(`${clock.nowMs()} restart ${unit}: ${reason} (${causedBy})`),
      signal: async (unit, name) => void done.push(`${clock.nowMs()} ${name} ${unit}`),
    },
  )
  return {
    clock,
    done,
    events,
    requests,
    put: async (watch) => {
      await watches.put(unitSpec('app', { run: ['./app'], cwd: '/app', watch } as never))
      await until('it is watched', () => watch === undefined || listener !== undefined)
      await settle()
    },
    touch: (...files) => files.forEach((file) => listener?.onChange(file)),
    fail: (reason) => listener?.onFault(reason),
    close: () => watches.close(),
  }
}

t.test('a burst of changes is one restart, after it is quiet', async (t) => {
  const { clock, done, events, put, touch, close } = watched()
  await put(['src/**/*.ts'])
  touch('/app/src/a.ts', '/app/src/a.ts', '/app/README.md', '/app/src/b.ts')
  await clock.advance(200)
  touch('/app/src/c.ts')
  await clock.advance(299)
  t.same(done, [])
  await clock.advance(200)
  t.same(done, ['600 restart app: src/a.ts, src/b.ts, src/c.ts and more changed (e1)'])
  t.match(events, [{ type: 'unit.changed', unit: 'app', details: { changes: '4', action: 'restart' } }])
  touch('/app/src/a.ts')
  await clock.advance(1_000)
  t.equal(done.length, 2, 'the next change is the next restart')
  await close()
  touch('/app/src/a.ts')
  await clock.advance(1_000)
  t.equal(done.length, 2)
  t.equal(clock.sleeping, 0)
})

t.test('changes without end are not waited for for ever', async (t) => {
  const { clock, done, put, touch, close } = watched()
  await put(['*.log'])
  for (let passed = 0; passed < 2_000; passed += 100) {
    touch('/app/x.log')
    await clock.advance(100)
  }
  t.match(done, [/^1500 restart/])
  await close()
})

t.test('reload and signal send the signal; a changed list is taken over, an unchanged one left alone', async (t) => {
  const { clock, done, requests, put, touch, close } = watched()
  await put({ paths: ['app.conf'], on_change: 'reload' })
  await put({ paths: ['app.conf'], on_change: 'reload' })
  t.equal(requests.length, 1)
  touch('/app/app.conf')
  await clock.advance(600)
  await put({ paths: ['app.conf'], on_change: 'signal', signal: 'USR1', debounce: '10ms' })
  touch('/app/app.conf')
  await clock.advance(20)
  t.same(done, ['300 SIGHUP app', '610 SIGUSR1 app'])
  await put(undefined)
  touch('/app/app.conf')
  await clock.advance(1_000)
  t.equal(done.length, 2)
  await close()
})

t.test('a watch that fails is told once, with what to do', async (t) => {
  const { events, put, fail, close } = watched()
  await put(['src'])
  fail('the system gives no more watches')
  t.match(events, [
    { type: 'unit.unwatched', reason: 'its files are watched no more: the system gives no more watches' },
  ])
  await close()
})

t.test('the watcher of the system', async (t) => {
  const begin = async (maxEntries = 100) => {
    const root = mkdtempSync(join(tmpdir(), 'hsu-watch-'))
    mkdirSync(join(root, 'kept/deep'), { recursive: true })
    writeFileSync(join(root, 'kept/a.txt'), 'a')
    const changed = new Set<string>()
    const faults: string[] = []
    const { isIgnored } = fileSet(root, ['.'], [])
    writeFileSync(join(root, 'beside.txt'), 'not watched')
    const end = await chokidarWatcher(systemClock).watch(
      { roots: [join(root, 'kept'), join(root, 'link'), join(root, 'later/z.txt')], isIgnored, maxEntries },
      { onChange: (path) => changed.add(path.slice(root.length + 1)), onFault: (reason) => faults.push(reason) },
    )
    t.teardown(async () => {
      await end()
      rmSync(root, { recursive: true, force: true })
    })
    return { root, changed, faults, end }
  }

  t.test('tells of writes, renames, new files and links, and of nothing that was there or is ignored', async (t) => {
    const { root, changed, end } = await begin()
    t.same([...changed], [])
    mkdirSync(join(root, 'kept/node_modules'))
    writeFileSync(join(root, 'kept/node_modules/x.js'), 'x')
    writeFileSync(join(root, 'beside.txt'), 'y')
    writeFileSync(join(root, 'kept/a.txt'), 'b')
    writeFileSync(join(root, 'new.tmp'), 'c')
    renameSync(join(root, 'new.tmp'), join(root, 'kept/deep/renamed.txt'))
    symlinkSync(join(root, 'kept/a.txt'), join(root, 'link'))
    mkdirSync(join(root, 'later'))
    writeFileSync(join(root, 'later/z.txt'), 'z')
    await until('all are told', () =>
      ['kept/a.txt', 'kept/deep/renamed.txt', 'link', 'later/z.txt'].every((path) => changed.has(path)),
    )
    t.notOk(
      [...changed].some((path) => /node_modules|beside/.test(path)),
      [...changed].join(' '),
    )
    rmSync(join(root, 'kept'), { recursive: true })
    changed.clear()
    mkdirSync(join(root, 'kept'))
    writeFileSync(join(root, 'kept/again.txt'), 'x')
    await until('a directory made anew is watched', () => changed.has('kept/again.txt'))
    for (let round = 0; round < 20; round += 1) {
      const directory = `kept/round-${round}`
      mkdirSync(join(root, directory))
      // At some moment between the first look at the directory and the watch.
      for (let turn = 0; turn < round; turn += 1) await settle()
      writeFileSync(join(root, directory, 'file.txt'), 'x')
    }
    await until('no file of a new directory is missed', () =>
      Array.from({ length: 20 }, (_, round) => `kept/round-${round}/file.txt`).every((path) => changed.has(path)),
    )
    await end()
  })

  t.test('watches nothing rather than a part', async (t) => {
    const { faults, root, changed } = await begin(2)
    t.match(faults, [/^there are more than 2 files and directories; watch fewer, or ignore some$/])
    writeFileSync(join(root, 'kept/a.txt'), 'b')
    t.same([...changed], [])
  })
})
