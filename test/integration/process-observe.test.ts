import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { type Transition, watchUnmanaged } from '../../src/process/attach.ts'
import type { FindConfig, ProbeConfig } from '../../src/process/config.ts'
import { findProcess } from '../../src/process/find.ts'
import { ownsListener } from '../../src/process/listeners.ts'
import { createMeter } from '../../src/process/meter.ts'
import type { Usage } from '../../src/process/usage.ts'
import { type CaptureSource, createOutput, type LogLine } from '../../src/process/output.ts'
import { portableTable } from '../../src/process/portable-table.ts'
import { runCommand } from '../../src/process/posix-host-run.ts'
import { type HealthChange, watchHealth } from '../../src/process/probe.ts'
import { createProbe } from '../../src/process/probes/index.ts'
import { identify, isSame, type ProcessTable, treeOf } from '../../src/process/process-table.ts'
import { systemProcessTable } from '../../src/process/system-table.ts'
import { KEEP_EVERYTHING } from '../../src/process/logs/keeping.ts'
import { memoryLog } from '../support/memory-log.ts'
import { fixture } from '../support/paths.ts'
import { until } from '../support/until.ts'

const never = new AbortController().signal
const run = runCommand(systemClock)
const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }

/** Starts a program in a group of its own, which is killed at the end of the test. */
function start(t: Test, program: string, args: readonly string[]): ChildProcess & { readonly pid: number } {
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  t.teardown(async () => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch {
      // Already gone.
    }
    await closed
  })
  if (child.pid === undefined) throw new Error(`cannot start ${program}`)
  return child as ChildProcess & { readonly pid: number }
}

/** The first line the program prints. */
async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk)
    if (text.includes('\n')) break
  }
  return text.split('\n')[0] ?? ''
}

async function listener(t: Test, ...args: string[]): Promise<{ pid: number; port: number }> {
  const child = start(t, process.execPath, [fixture('listen.mjs'), ...args])
  const line = await firstLine(child)
  return { pid: child.pid, port: Number(line.replace('ready ', '')) }
}

/** A program of that name that does nothing for a long time. */
function sleeper(t: Test, dir: string, name: string, seconds = '600'): ChildProcess & { readonly pid: number } {
  const path = join(dir, name)
  symlinkSync('/bin/sleep', path)
  return start(t, path, [seconds])
}

function observe(t: Test, table: ProcessTable): void {
  t.test('a process has one identity for its life', async (t) => {
    const own = await identify(table, process.pid)
    t.same(await identify(table, process.pid), own)
    if (own === undefined) throw new Error('we are not there')
    t.equal(await isSame(table, own), true)
    t.equal(await isSame(table, { ...own, startTime: `${own.startTime}0` }), false)
    const child = start(t, 'sleep', ['600'])
    const identity = await identify(table, child.pid)
    if (identity === undefined) throw new Error('the child is not there')
    child.kill('SIGKILL')
    await once(child, 'exit')
    t.equal(await isSame(table, identity), false)
  })

  t.test('what is told of us is true', async (t) => {
    const info = await table.get(process.pid)
    t.match(info, { pid: process.pid, ppid: process.ppid })
    t.match(info?.argv.join(' '), /process-observe/)
    t.ok((info?.virtualBytes ?? 0) > (info?.rssBytes ?? 0), `${info?.virtualBytes} bytes`)
    t.ok((info?.rssBytes ?? 0) > 10e6 && (info?.rssBytes ?? 0) < 10e9, `${info?.rssBytes} bytes`)
    const { user, system } = process.cpuUsage()
    const ownMs = (user + system) / 1_000
    t.ok(Math.abs((info?.cpuMs ?? 0) - ownMs) < 1_100 + ownMs / 10, `${info?.cpuMs} ms against ${ownMs} ms`)
    const ageMs = process.uptime() * 1_000
    t.ok(Math.abs(Date.now() - ageMs - (info?.startedAtMs ?? 0)) < 3_000, 'the start is right to a few seconds')
    t.ok((await table.list()).some(({ pid }) => pid === process.pid))
  })

  t.test('a zombie counts as gone', async (t) => {
    // `exec` makes the parent a program that never waits for its child.
    const child = start(t, 'sh', ['-c', 'sh -c "echo \\$\\$" & exec sleep 600'])
    const pid = Number(await firstLine(child))
    await until('it is a zombie', async () => (await table.get(pid))?.state === 'Z')
    t.equal(await identify(table, pid), undefined)
  })

  t.test('the tree holds grandchildren, and children whose parent has ended', async (t) => {
    const child = start(t, 'sh', ['-c', 'sh -c "sleep 600 & echo \\$!"; sleep 600 & wait'])
    const orphan = Number(await firstLine(child))
    const tree = await until('both are there', async () => {
      const members = treeOf(child.pid, await table.list())
      return members.length === 3 && members
    })
    t.ok(tree.some(({ pid }) => pid === orphan))
    t.ok(tree.some(({ pid }) => pid === child.pid))
  })
}

t.test('/proc', onLinux, async (t) => {
  const table = systemProcessTable(run)
  observe(t, table)

  t.test('a name may hold anything', async (t) => {
    const { pid } = sleeper(t, t.testdir({}), ') S 1 (x')
    t.match(
      await until('it runs', async () => (await table.get(pid))?.name.startsWith(')') === true && table.get(pid)),
      {
        ppid: process.pid,
        pgid: pid,
        sessionId: pid,
      },
    )
  })

  t.test('a mark is found in an environment of any length, and only as a whole variable', async (t) => {
    const runWith = (filler: number, marks: Record<string, string>): number => {
      const env = { FILLER: 'x'.repeat(filler), ...marks }
      const child = spawn('sleep', ['600'], { env, stdio: 'ignore' })
      t.teardown(() => child.kill('SIGKILL'))
      return child.pid ?? 0
    }
    // What is read at once is 32 KiB: the mark begins before, at and after its end.
    const fillers = [0, ...Array.from({ length: 24 }, (_, index) => 32_768 - 20 + index), 100_000]
    const marked = fillers.map((filler) => runWith(filler, { HSU_MARK: '/run/x' }))
    const others = [{ HSU_MARK: '/run/x/y' }, { XHSU_MARK: '/run/x' }, { OTHER: 'HSU_MARK=/run/x' }, {}]
    for (const marks of others) runWith(0, marks)
    const found = async () => (await table.marked(await table.list(), 'HSU_MARK=/run/x')).map(({ pid }) => pid)
    await until('all run', async () => (await found()).length >= marked.length)
    t.same((await found()).toSorted(), marked.toSorted())
    const seen = (await table.look?.('HSU_MARK=/run/x'))?.marked.map(({ pid }) => pid) ?? []
    t.same(seen.toSorted(), marked.toSorted(), 'a shared look sees the same')
    const [first, last] = [await identify(table, marked[0] ?? 0), await identify(table, marked.at(-1) ?? 0)]
    t.equal((await table.marked(await table.list(), 'HSU_MARK=/run/x', first)).length, marked.length, 'none is older')
    const late = await table.marked(await table.list(), 'HSU_MARK=/run/x', {
      ...last,
      startTime: '99999999999999',
    } as typeof last)
    t.same(late, [], 'those older than the first that may have it are not looked at')
  })

  t.test('processes that come and go do not disturb a look at all', async (t) => {
    const child = start(t, 'sh', ['-c', 'while :; do sleep 0; done'])
    for (let n = 0; n < 50; n += 1) {
      const list = await table.list()
      t.ok(list.some(({ pid }) => pid === child.pid))
      t.ok(list.every(({ argv, executable }) => Array.isArray(argv) && executable !== ''))
    }
  })
})

t.test('the portable table tells the same', onLinux, async (t) => {
  // ps and pidusage are here too; only the boot id is asked for in another way.
  const table = portableTable(async (argv, options, signal) =>
    run(argv[0] === 'sysctl' ? ['cat', '/proc/sys/kernel/random/boot_id'] : argv, options, signal),
  )
  observe(t, table)
})

t.test('the meter sees what a whole tree uses', onLinux, async (t) => {
  const table = systemProcessTable(run)
  const child = start(t, 'sh', ['-c', 'sh -c "while :; do :; done" & wait'])
  const identity = await identify(table, child.pid)
  if (identity === undefined) throw new Error('the child is not there')
  const meter = createMeter({ clock: systemClock, table, log: memoryLog() }, { intervalMs: 300 })
  const seen: Usage[] = []
  meter.track(identity, (usage) => seen.push(usage))
  await meter.start()
  t.teardown(() => meter.stop())
  const usage = await until('it is busy', () => seen.find(({ cpu }) => cpu > 0.2))
  t.ok(usage.cpu < 1.5, `${usage.cpu} cores`)
  t.equal(usage.processes, 2)
  t.ok(usage.rssBytes > 500_000, `${usage.rssBytes} bytes`)
})

t.test('finding', onLinux, async (t) => {
  const table = systemProcessTable(run)
  const look = (find: FindConfig, baseDir = '/') => findProcess(find, { table, selfPid: process.pid, baseDir })

  t.test('by pid and by name, and two of a name are ambiguous', async (t) => {
    const dir = t.testdir({})
    const name = `hsu-observe-a-very-long-name-${process.pid}`
    t.match(await look({ name }), { kind: 'absent' })
    const first = sleeper(t, dir, name, '601')
    t.match(await look({ pid: first.pid }), { kind: 'found', identity: { pid: first.pid } })
    const sighting = await until('it is found', async () => {
      const seen = await look({ name })
      return seen.kind === 'found' && seen
    })
    t.equal(sighting.identity.pid, first.pid)
    const second = start(t, join(dir, name), ['602'])
    t.match(
      await until('both are seen', async () => {
        const seen = await look({ name })
        return seen.kind === 'ambiguous' && seen
      }),
      { candidates: [first.pid, second.pid].sort((a, b) => a - b).map((pid) => ({ pid })) },
    )
    t.match(await look({ name, args: ['602'] }), { kind: 'found', identity: { pid: second.pid } })
    t.match(await look({ name, args: ['603'] }), { kind: 'absent' })
  })

  t.test('a pid file is believed while it is newer than the process it names', async (t) => {
    const dir = t.testdir({})
    const { pid } = start(t, 'sleep', ['600'])
    writeFileSync(join(dir, 'a.pid'), `${pid}\n`)
    t.match(await look({ pid_file: 'a.pid' }, dir), { kind: 'found', identity: { pid } })
    const hourAgo = Date.now() / 1_000 - 3_600
    utimesSync(join(dir, 'a.pid'), hourAgo, hourAgo)
    t.match(await look({ pid_file: 'a.pid' }, dir), { kind: 'absent', reason: /stale/ })
  })

  for (const [protocol, host] of [
    ['tcp', '127.0.0.1'],
    ['tcp', '::1'],
    ['udp', '127.0.0.1'],
    ['udp', '::1'],
  ] as const) {
    t.test(`the owner of a ${protocol} port on ${host}`, async (t) => {
      const { pid, port } = await listener(t, protocol, host)
      t.match(await look({ port: `${protocol}/${port}` }), { kind: 'found', identity: { pid } })
      t.match(await look({ port: `${protocol === 'tcp' ? 'udp' : 'tcp'}/${port}` }), { kind: 'absent' })
    })
  }

  t.test('of a socket that workers share, the master is found', async (t) => {
    const { pid, port } = await listener(t, 'tcp', '127.0.0.1', '0', '--worker')
    const open = await table.listeners({ protocol: 'tcp', port })
    t.equal(open[0]?.pids.length, 2, 'both hold it')
    t.match(await look({ port: `tcp/${port}` }), { kind: 'found', identity: { pid } })
  })

  t.test('one port on two addresses, of two processes, is ambiguous; ownership is told apart', async (t) => {
    const first = await listener(t, 'tcp', '127.0.0.1')
    const second = await listener(t, 'tcp', '127.0.0.2', String(first.port))
    t.match(await look({ port: `tcp/${first.port}` }), { kind: 'ambiguous' })
    t.equal(await ownsListener(table, first.pid, first.port), true)
    t.equal(await ownsListener(table, second.pid, second.port), true)
    t.equal(await ownsListener(table, process.pid, first.port), true, 'both are our children')
    t.equal(await ownsListener(table, first.pid, first.port + 1), false)
    const other = start(t, 'sleep', ['600'])
    t.equal(await ownsListener(table, other.pid, first.port), false)
  })

  t.test(
    'a watched process is found, lost when it ends, and its successor found, and nothing is signalled',
    async (t) => {
      const dir = t.testdir({})
      const name = `hsu-watched-${process.pid}`
      const seen: Transition[] = []
      const stop = new AbortController()
      const watching = watchUnmanaged(
        { table, selfPid: process.pid, baseDir: dir, clock: systemClock },
        { find: { name }, intervalMs: 20 },
        (transition) => seen.push(transition),
        stop.signal,
      )
      const first = sleeper(t, dir, name)
      await until('it is found', () => seen.at(-1)?.kind === 'found')
      first.kill('SIGKILL')
      await until('it is lost', () => seen.some(({ kind }) => kind === 'lost'))
      const second = start(t, join(dir, name), ['600'])
      await until('the next is found', () => seen.at(-1)?.kind === 'found')
      stop.abort()
      await watching
      t.match(seen.at(-1), { kind: 'found', identity: { pid: second.pid } })
      t.equal(second.exitCode, null)
    },
  )
})

t.test('probes', onLinux, async (t) => {
  const table = systemProcessTable(run)
  const http = createHttpServer((request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: '/ok' }).end()
    else if (request.url === '/endless') response.writeHead(200).write('x'.repeat(200_000))
    else if (request.url === '/stuck') response.writeHead(200).write('x')
    else if (request.url === '/post') response.writeHead(request.method === 'POST' ? 204 : 405).end()
    else response.writeHead(request.url === '/ok' ? 200 : 503).end('body')
  })
  const silent = createServer((socket) => socket.resume().on('error', () => undefined))
  t.before(async () => {
    await Promise.all([http, silent].map((server) => once(server.listen(0, '127.0.0.1'), 'listening')))
  })
  t.teardown(() => {
    http.closeAllConnections()
    http.close()
    silent.close()
  })
  const portOf = (server: typeof silent): number => (server.address() as AddressInfo).port

  /** The first answers of a probe, until the verdict changes from the one that is not expected. */
  async function verdict(config: Partial<ProbeConfig>, user?: string): Promise<HealthChange & { waiting: number }> {
    const identity = await identify(table, process.pid)
    if (identity === undefined) throw new Error('we are not there')
    const defaults = { every: 10, timeout: 300, delay: 0, ok: 1, fail: 2, owner: 'own', enabled: true } as const
    const env = { PATH: process.env['PATH'] ?? '' }
    const { probe, policy } = createProbe(
      { ...defaults, ...config },
      { identity, expand: (text) => text, grpcAddress: undefined, cwd: '/', env, user },
      { table, run, grpc: { check: async () => true } },
    )
    const stop = new AbortController()
    let last = { passed: false, reason: 'not asked' }
    let count = 0
    const onAnswer = (answer: typeof last): void => {
      last = answer
      count += 1
      if (count === 2) stop.abort()
    }
    for await (const change of watchHealth(probe, policy, { clock: systemClock, onAnswer }, stop.signal)) {
      return { ...change, waiting: count }
    }
    return { verdict: 'failing', reason: last.reason, failures: count, reasons: [last.reason], waiting: count }
  }
  const url = (path: string) => ({
    http: { url: `http://127.0.0.1:${portOf(http)}${path}`, method: 'GET', headers: {} },
  })

  t.test('process', async (t) => t.match(await verdict({ process: true }), { verdict: 'passing' }))

  t.test('tcp', async (t) => {
    t.match(await verdict({ tcp: `127.0.0.1:${portOf(silent)}` }), { verdict: 'passing' })
    t.match(await verdict({ tcp: String(portOf(silent)) }), { verdict: 'passing' })
    t.match(await verdict({ tcp: '127.0.0.1:1' }), { verdict: 'failing', reason: 'connection refused' })
  })

  t.test('http', async (t) => {
    t.match(await verdict(url('/ok')), { verdict: 'passing' })
    t.match(await verdict(url('/no')), { verdict: 'failing', reason: 'HTTP 503' })
    t.match(await verdict(url('/redirect')), { verdict: 'failing', reason: 'HTTP 302' })
    t.match(await verdict(url('/endless')), { verdict: 'passing' }, 'a long body is not read to its end')
    t.match(await verdict(url('/stuck')), { verdict: 'failing', reason: 'no answer within 300 ms' })
    t.match(await verdict({ http: { ...url('/post').http, method: 'POST' } }), { verdict: 'passing' })
    const gone = { http: { url: 'http://127.0.0.1:1/', method: 'GET', headers: {} } }
    t.match(await verdict(gone), { verdict: 'failing', reason: 'connection refused' })
  })

  t.test('http to one that accepts and never answers is failing, and no connection is left', async (t) => {
    const target = { http: { url: `http://127.0.0.1:${portOf(silent)}/`, method: 'GET', headers: {} } }
    t.match(await verdict(target), { verdict: 'failing', reason: 'no answer within 300 ms' })
    await until('all are closed', () => new Promise<boolean>((done) => silent.getConnections((_, n) => done(n === 0))))
  })

  t.test('exec', async (t) => {
    const dir = t.testdir({})
    t.match(await verdict({ exec: ['true'] }), { verdict: 'passing' })
    t.match(await verdict({ exec: ['sh', '-c', 'echo no disk; exit 4'] }), {
      verdict: 'failing',
      reason: 'sh: exited with code 4: no disk',
    })
    t.match(await verdict({ exec: ['/no/such/program'] }), { verdict: 'failing', reason: /cannot run/ })
    const slow = ['sh', '-c', `echo $$ >> ${dir}/pids; sleep 600`]
    t.match(await verdict({ exec: slow }), { verdict: 'failing', reason: 'no answer within 300 ms' })
    for (const pid of readFileSync(join(dir, 'pids'), 'utf8').trim().split('\n')) {
      await until(`${pid} is gone`, async () => (await identify(table, Number(pid))) === undefined)
    }
  })

  t.test('exec runs as the user of the unit', { skip: process.getuid?.() === 0 ? false : 'needs root' }, async (t) => {
    const asked = ['sh', '-c', 'echo $(id -un) $USER $(id -G) $HOME; exit 1']
    const { reason } = await verdict({ exec: asked }, 'nobody')
    t.match(reason, /: nobody nobody [1-9]\d* \/(?!root)/, 'and no group of root is left')
    t.match(await verdict({ exec: ['true'] }, 'no-such-user'), { reason: /cannot run true as .*no such user/ })
  })
})

t.test('output', onLinux, async (t) => {
  const MiB = 1024 ** 2

  function setUp(t: Test, limits: { maxBytes: number; keep: number }) {
    const dir = t.testdir({ run: {} })
    const source: CaptureSource = {
      unit: 'api',
      replica: 0,
      instance: 'api-0-aa',
      stdoutPath: join(dir, 'run', 'stdout'),
      stderrPath: join(dir, 'run', 'stderr'),
      pid: 1,
      ...KEEP_EVERYTHING,
      ...limits,
    }
    const log = memoryLog()
    const open = () => {
      const output = createOutput({ clock: systemClock, log, run }, { logDir: join(dir, 'log') })
      t.teardown(() => output.close())
      return output
    }
    return { logDir: join(dir, 'log', 'api'), source, log, open }
  }

  /** Runs the fixture with its output appended to the raw files. */
  async function burst(source: CaptureSource): Promise<void> {
    const fds = [source.stdoutPath, source.stderrPath].map((path) => openSync(path, 'a'))
    const child = spawn(process.execPath, [fixture('burst.mjs')], { stdio: ['ignore', ...fds] })
    const ended = once(child, 'exit')
    for (const fd of fds) closeSync(fd)
    t.same(await ended, [0, null])
  }

  async function all(output: ReturnType<typeof createOutput>, tail?: number): Promise<LogLine[]> {
    const query = { units: [], follow: false, tail, sinceMs: undefined, stream: undefined, grep: undefined }
    const lines: LogLine[] = []
    for await (const line of output.query(query, never)) lines.push(line)
    return lines
  }

  /** What the program wrote, made from the lines: each stream as it was, but for line ends. */
  const bytesOf = (lines: readonly LogLine[], stream: string): Buffer =>
    Buffer.concat(lines.flatMap((each) => (each.stream === stream ? [Buffer.from(each.line)] : [])))
  const withoutEnds = (path: string): Buffer =>
    Buffer.from(readFileSync(path, 'latin1').replaceAll('\r\n', '').replaceAll('\n', ''), 'latin1')

  t.test('10 MB on both streams, a line of 5 MB, binary and no last line end: nothing is lost', async (t) => {
    const { source, log, open } = setUp(t, { maxBytes: 100 * MiB, keep: 2 })
    // Where no hole can be made the raw files stay whole, to compare with.
    const noHoles = createOutput(
      { clock: systemClock, log, run: async () => ({ exit: { code: 1 }, stdout: '' }) },
      { logDir: join(source.stdoutPath, '..', '..', 'log') },
    )
    const capture = noHoles.capture(source)
    const startedAtMs = performance.now()
    await burst(source)
    await capture.finish()
    const storedAtMs = performance.now()
    const lines = await all(open())
    t.comment(`stored in ${storedAtMs - startedAtMs} ms, read in ${performance.now() - storedAtMs} ms`)
    t.ok(bytesOf(lines, 'stdout').equals(withoutEnds(source.stdoutPath)), 'stdout')
    t.ok(bytesOf(lines, 'stderr').equals(withoutEnds(source.stderrPath)), 'stderr')
    t.ok(
      lines.every(({ seq }, index) => seq === index),
      'numbered without a gap',
    )
    t.equal(
      lines.reduce((longest, { line }) => Math.max(longest, line.length), 0),
      MiB,
    )
    t.equal(Buffer.from(lines.at(-1)?.line ?? []).toString(), 'the end, unfinished')
    t.match(await all(open(), 2), lines.slice(-2))
  })

  t.test('readers that end at any moment lose and repeat nothing', async (t) => {
    const { source, open } = setUp(t, { maxBytes: 100 * MiB, keep: 2 })
    const bursting = { over: false }
    const ended = burst(source).finally(() => {
      bursting.over = true
    })
    for (let readers = 0; !bursting.over || readers < 5; readers += 1) {
      const output = open()
      const capture = output.capture(source)
      await systemClock.sleep(30)
      await capture.close()
    }
    await ended
    const output = open()
    await output.capture(source).finish()
    const lines = await all(output)
    const numbers = (name: string): number[] =>
      lines.flatMap(({ line }) => {
        const match = new RegExp(`^${name} (\\d+) \\.*$`).exec(Buffer.from(line).toString('latin1'))
        return match === null ? [] : [Number(match[1])]
      })
    for (const name of ['out', 'err']) {
      const seen = numbers(name)
      t.ok(seen.length > 80_000)
      t.ok(
        seen.every((number, index) => number === index),
        `${name}: each once and in order`,
      )
    }
    const long = lines.filter(({ line }) => line.length > 500_000).reduce((sum, { line }) => sum + line.length, 0)
    t.equal(long, 5_000_000, 'the long line, in pieces')
    t.ok(lines.every(({ seq }, index) => seq === index))
  })

  t.test('the logs and the disk under the raw files stay bounded', async (t) => {
    const { logDir, source, open, log } = setUp(t, { maxBytes: MiB, keep: 3 })
    const output = open()
    const capture = output.capture(source)
    await burst(source)
    await capture.finish()
    const sizes = readdirSync(logDir).map((name) => statSync(join(logDir, name)).size)
    t.equal(sizes.length, 3)
    t.ok(
      sizes.every((size) => size <= MiB),
      String(sizes),
    )
    t.equal(Buffer.from((await all(output)).at(-1)?.line ?? []).toString(), 'the end, unfinished')
    for (const path of [source.stdoutPath, source.stderrPath]) {
      const { size, blocks } = statSync(path)
      t.ok(size > 10e6, 'the apparent size is what was written')
      t.ok(blocks * 512 < 2 * MiB, `${blocks * 512} bytes are on the disk`)
    }
    t.same(log.entries, [])

    // With the logs deleted, the holes are not taken for output.
    appendFileSync(source.stdoutPath, '\nafter\n')
    for (const name of readdirSync(logDir)) writeFileSync(join(logDir, name), '')
    const next = open()
    await next.capture(source).finish()
    const lines = await all(next)
    t.ok(lines.some(({ line }) => Buffer.from(line).equals(Buffer.from('after'))))
    t.ok(lines.length < 10_000, `${lines.length} lines`)
  })

  t.test('a line is in the log within moments of being written', async (t) => {
    const { source, open } = setUp(t, { maxBytes: MiB, keep: 3 })
    mkdirSync(join(source.stdoutPath, '..'), { recursive: true })
    writeFileSync(source.stdoutPath, '')
    const output = open()
    const capture = output.capture(source)
    const stop = new AbortController()
    const query = { units: ['api'], follow: true, tail: 0, sinceMs: undefined, stream: undefined, grep: undefined }
    const seen: number[] = []
    const following = (async () => {
      for await (const { line } of output.query(query, stop.signal)) {
        seen.push(performance.now() - Number(Buffer.from(line).toString()))
      }
    })()
    for (let n = 0; n < 10; n += 1) {
      appendFileSync(source.stdoutPath, `${performance.now()}\n`)
      await until('it is there', () => seen.length > n)
    }
    stop.abort()
    await following
    await capture.close()
    const sorted = seen.sort((a, b) => a - b)
    t.comment(`median ${sorted[5]?.toFixed(1)} ms, worst ${sorted[9]?.toFixed(1)} ms`)
    t.ok((sorted[5] ?? 0) < 2_000, 'long before the next poll')
  })
})
