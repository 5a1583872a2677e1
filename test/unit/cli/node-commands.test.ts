import { spawnSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { startDetached } from '../../../src/cli/detach.ts'
import { checkHost, type HostFacts } from '../../../src/cli/host-checks.ts'
import type { LocalNode, RunOptions } from '../../../src/cli/local-node.ts'
import { lastLines, openLogFile } from '../../../src/cli/log-file.ts'
import { reflectingFrom } from '../../../src/cli/method-caller.ts'
import { alsoShown } from '../../../src/cli/node-adapter.ts'
import type { Connection } from '../../../src/rpc/index.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { type FakeClient, hsu, streamOf } from './fake-world.ts'

const config = { node: {}, units: { echo: {}, worker: {} } }
const known = {
  config,
  origins: { 'units.echo': 'hsu.yaml:3:3' },
  yaml: 'version: 1\n',
  warnings: [],
  files: ['/work/hsu.yaml'],
  dataDir: undefined,
}
const describing = (more: object = {}): Partial<LocalNode> => ({ describeConfig: async () => ({ ...known, ...more }) })
const notStarted = (): never => {
  throw new HsuError('NOT_STARTED', "no node listens on /data/run/control.sock; start one with 'hsu up'")
}

/** A clock on which sleeping takes no time. */
function hurriedClock(): SimClock {
  const clock = new SimClock()
  const sleep = clock.sleep.bind(clock)
  clock.sleep = (ms, signal) => {
    const slept = sleep(ms, signal)
    if (ms < 1_000) setImmediate(() => void clock.advance(ms))
    return slept
  }
  return clock
}

t.test('hsu up in the foreground', async (t) => {
  t.test('runs a node with what was typed and shows what it does', async (t) => {
    let seen: RunOptions | undefined
    const run = async (options: RunOptions): Promise<number> => {
      seen = options
      options.onProgress('unit.ready  echo-0-3fa2b1')
      return 0
    }
    const { code, stdout, stderr } = await hsu('up -f a.yaml -f b.yaml --name edge-z --data-dir /d', { local: { run } })
    t.equal(code, 0)
    t.equal(stdout, '')
    t.match(stderr, /^\d\d:\d\d:\d\d {2}unit.ready {2}echo-0-3fa2b1\n$/)
    t.match(seen, { files: ['a.yaml', 'b.yaml'], name: 'edge-z', dataDir: '/d' })
  })

  t.test('hands on both ^C, and exits as the node says', async (t) => {
    const stop = new AbortController()
    const force = new AbortController()
    const run = async ({ force: forced }: RunOptions, signal: AbortSignal): Promise<number> => {
      stop.abort()
      force.abort()
      return signal.aborted && forced.aborted ? 7 : 1
    }
    t.match(await hsu('up', { local: { run }, world: { signal: stop.signal, force: force.signal } }), { code: 7 })
  })

  t.test('a wrong configuration exits 2 with every fault on its own line', async (t) => {
    const run = async (): Promise<never> => {
      throw new HsuError('CONFIG_INVALID', 'a.yaml:1:1: bad\na.yaml:9:2: worse')
    }
    t.match(await hsu('up', { local: { run } }), { code: 2, stderr: 'hsu: a.yaml:1:1: bad\na.yaml:9:2: worse\n' })
  })
})

t.test('hsu up -d', async (t) => {
  const forever = new Promise<string>(() => undefined)

  t.test('starts itself in the background and returns when that node answers', async (t) => {
    const starts: (readonly string[])[] = []
    let released = 0
    let asked = 0
    const client: FakeClient = {
      getNode: async () => {
        asked += 1
        if (asked < 3) return notStarted()
        return asked === 3 ? { pid: 12, node: { node: 'older' } } : { pid: 77, node: { node: 'edge-a' } }
      },
    }
    const detach = async (args: readonly string[], logFile: string) => {
      starts.push([...args, logFile])
      return { pid: 77, ended: forever, release: () => (released += 1) }
    }
    const fakes = { client, local: describing(), processes: { detach }, world: { clock: hurriedClock() } }
    const { code, stdout } = await hsu('up -d -f a.yaml --name z --data-dir /d -o json', fakes)
    t.equal(code, 0)
    t.strictSame(JSON.parse(stdout), { node: 'edge-a', pid: 77, log: '/d/log/node.log' })
    t.same(starts, [['up', '-f', 'a.yaml', '--data-dir', '/d', '--name', 'z', '/d/log/node.log']])
    t.equal(released, 1)
  })

  t.test('finds the node where its configuration puts it', async (t) => {
    let asked = 0
    const client: FakeClient = {
      getNode: async () => ((asked += 1) === 1 ? notStarted() : { pid: 77, node: { node: 'n' } }),
    }
    const detach = async () => ({ pid: 77, ended: forever, release: () => undefined })
    const fakes = { client, local: describing({ dataDir: '/from/config' }), processes: { detach } }
    const { opened, stdout } = await hsu('up -d', fakes)
    t.same(opened, ['/from/config/run/control.sock'])
    t.equal(stdout, 'node n runs, pid 77, log /from/config/log/node.log\n')
  })

  t.test('refuses a second node, and a wrong configuration, before it starts anything', async (t) => {
    const client: FakeClient = { getNode: async () => ({ pid: 5, node: { node: 'edge-a' }, dataDir: '/data' }) }
    t.match(await hsu('up -d', { client, local: describing() }), {
      code: 1,
      stderr: /node edge-a \(pid 5\) already runs with \/data; /,
    })
    const describeConfig = async (): Promise<never> => {
      throw new HsuError('CONFIG_INVALID', 'a.yaml:1:1: bad')
    }
    t.match(await hsu('up -d', { client: {}, local: { describeConfig } }), { code: 2 })
  })

  t.test('shows the last lines of a node that ended at once', async (t) => {
    const detach = async () => ({ pid: 77, ended: Promise.resolve('exit code 1'), release: () => undefined })
    const lastLines = () => ['hsu: cannot do it']
    const client: FakeClient = { getNode: async () => notStarted() }
    const { code, stderr } = await hsu('up -d', { client, local: describing(), processes: { detach, lastLines } })
    t.equal(code, 3)
    t.match(stderr, /^hsu: cannot do it\nhsu: the node ended at once \(exit code 1\); /)
  })

  t.test('gives up on a node that never answers', async (t) => {
    const detach = async () => ({ pid: 77, ended: forever, release: () => undefined })
    const client: FakeClient = { getNode: async () => notStarted() }
    const fakes = { client, local: describing(), processes: { detach }, world: { clock: hurriedClock() } }
    t.match(await hsu('up -d --timeout 500ms', fakes), { code: 124, stderr: /pid 77/ })
  })
})

t.test('what a detached process writes goes to its log', async (t) => {
  const directory = t.testdir({ 'entry.mjs': 'console.log(process.argv[2]); console.error("bad"); process.exit(3)' })
  const log = join(directory, 'log', 'node.log')
  const child = await startDetached(join(directory, 'entry.mjs'), ['up'], log)
  t.equal(await child.ended, 'exit code 3')
  t.same(lastLines(log, 2), ['up', 'bad'])
  t.equal(statSync(log).mode & 0o777, 0o600)
  t.same(lastLines(join(directory, 'none'), 2), [])
  writeFileSync(log, Buffer.alloc(11 * 1024 * 1024))
  openLogFile(log)
  t.equal(statSync(log).size, 0, 'a large log is put aside')
  t.equal(statSync(`${log}.1`).size, 11 * 1024 * 1024)
})

t.test('warnings and errors of the node are shown, the rest goes to the file', async (t) => {
  const log = memoryLog()
  const shown: string[] = []
  const both = alsoShown(log, (line) => shown.push(line)).with({ part: 'mesh' })
  both.info('started')
  both.warn('port is taken', { port: 9470, cause: new Error('EADDRINUSE') })
  both.error('broken')
  both.with({ unit: 'echo' }).warn('probe failed')
  t.same(shown, ['warning: port is taken  part=mesh  port=9470  cause=EADDRINUSE', 'error: broken  part=mesh'])
  t.match(log.entries, [
    { level: 'info' },
    { level: 'warn', fields: { part: 'mesh', port: 9470 } },
    { level: 'error' },
    { level: 'warn' },
  ])
})

t.test('hsu down', async (t) => {
  const getNode = async () => ({ pid: 77, node: { node: 'edge-a' } })

  t.test('returns when the process has gone', async (t) => {
    let looks = 0
    const isAlive = (pid: number): boolean => pid === 77 && (looks += 1) < 5
    const fakes = {
      client: { getNode, shutdown: async () => ({}) },
      processes: { isAlive },
      world: { clock: hurriedClock() },
    }
    const { code, stderr, asked } = await hsu('down', fakes)
    t.equal(code, 0)
    t.equal(looks, 5)
    t.equal(stderr, 'node edge-a has stopped\n')
    t.same(
      asked.map(({ method }) => method),
      ['getNode', 'shutdown'],
    )
  })

  t.test('exits 124 when it takes too long, 3 when none runs', async (t) => {
    const fakes = {
      client: { getNode, shutdown: async () => ({}) },
      processes: { isAlive: () => true },
      world: { clock: hurriedClock() },
    }
    t.match(await hsu('down --timeout 300ms', fakes), {
      code: 124,
      stderr: /node edge-a \(pid 77\) has not stopped yet/,
    })
    t.match(await hsu('down', { client: { getNode: async () => notStarted() } }), {
      code: 3,
      stderr: /^hsu: no node listens on /,
    })
  })

  t.test('of another node waits until it answers no more', async (t) => {
    let asked = 0
    const client: FakeClient = {
      getNode: async () => ((asked += 1) < 3 ? getNode() : notStarted()),
      shutdown: async () => ({}),
    }
    const outcome = await hsu('down --node edge-a', { client, world: { clock: hurriedClock() } })
    t.equal(outcome.code, 0)
    t.ok(outcome.asked.every(({ options }) => options.metadata?.['hsu-node'] === 'edge-a'))
  })
})

t.test('hsu config', async (t) => {
  t.test('validate names what it checked, warns on stderr, and exits 2 on a fault', async (t) => {
    const local = describing({ warnings: ['hsu.yaml:5:1: has no effect yet'] })
    const { code, stdout, stderr } = await hsu('config validate', { local })
    t.equal(code, 0)
    t.equal(stdout, '/work/hsu.yaml: ok, 2 units\n')
    t.equal(stderr, 'warning: hsu.yaml:5:1: has no effect yet\n')
    t.match(JSON.parse((await hsu('config validate -o json', { local })).stdout), {
      valid: true,
      units: ['echo', 'worker'],
    })
    let files: readonly string[] = []
    const describeConfig = async (given: readonly string[]): Promise<never> => {
      files = given
      throw new HsuError('CONFIG_INVALID', 'x.yaml:1:1: bad')
    }
    t.match(await hsu('config validate x.yaml -f y.yaml', { local: { describeConfig } }), { code: 2, stdout: '' })
    t.same(files, ['x.yaml', 'y.yaml'])
  })

  t.test('show asks the running node, with -f or without a node it reads files', async (t) => {
    const client: FakeClient = {
      getConfig: async () => ({
        configJson: '{"node":{"name":"a"},"units":{"e":{"run":["x"],"ports":{}}}}',
        origins: { 'node.name': 'default', 'units.e.run': 'h.yaml:3:5' },
      }),
    }
    t.equal(
      (await hsu('config show', { client })).stdout,
      'node.name: "a"  # default\nunits.e.run: ["x"]  # h.yaml:3:5\nunits.e.ports: {}\n',
    )
    t.match(JSON.parse((await hsu('config show -o json', { client })).stdout), {
      config: { node: { name: 'a' } },
      origins: {},
    })
    t.equal((await hsu('config show -f h.yaml', { client, local: describing() })).stdout, 'version: 1\n')
    const none = { client: { getConfig: async () => notStarted() }, local: describing() }
    t.equal((await hsu('config show', none)).stdout, 'version: 1\n')
    t.strictSame(JSON.parse((await hsu('config show -o json', none)).stdout), { config, origins: known.origins })
    t.match(
      await hsu('config show', {
        client: { getConfig: async () => Promise.reject(new HsuError('NODE_UNREACHABLE', 'x')) },
      }),
      { code: 5 },
    )
  })

  t.test('schema is JSON', async (t) => {
    const local = { configSchema: () => ({ $schema: 'x' }) }
    t.equal((await hsu('config schema', { local })).stdout, '{\n  "$schema": "x"\n}\n')
    t.equal((await hsu('config schema -o json', { local })).stdout, (await hsu('config schema', { local })).stdout)
  })
})

t.test('hsu mesh', async (t) => {
  const local = {
    createMeshKey: () => 'KEY\n',
    meshKeyFingerprints: (content: string) => [`print of ${content.trim()}`],
  }

  t.test('create makes a private key file, once', async (t) => {
    const cwd = t.testdir({})
    const { code, stdout } = await hsu('mesh create', { local, world: { cwd } })
    t.equal(code, 0)
    const file = join(cwd, 'mesh.key')
    t.equal(readFileSync(file, 'utf8'), 'KEY\n')
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.match(stdout, /fingerprint print of KEY[^]*key_file: .*mesh.key/)

    local.createMeshKey = () => 'OTHER\n'
    t.match(await hsu('mesh create', { local, world: { cwd } }), {
      code: 2,
      stderr: /is there already and is never overwritten/,
    })
    t.equal(readFileSync(file, 'utf8'), 'KEY\n')
    t.match(JSON.parse((await hsu('mesh create --out b.key -o json', { local, world: { cwd } })).stdout), {
      file: join(cwd, 'b.key'),
    })
    t.match(await hsu('mesh create --out no/such/k', { local, world: { cwd } }), { code: 1, stderr: /cannot write/ })
  })

  t.test('key shows its fingerprint', async (t) => {
    const cwd = t.testdir({ 'mesh.key': 'KEY\n', x: 'X\n' })
    t.equal(
      (await hsu('mesh key mesh.key', { local, world: { cwd } })).stdout,
      `print of KEY\nfile: ${join(cwd, 'mesh.key')}\n`,
    )
    t.match(JSON.parse((await hsu('mesh key x -o json', { local, world: { cwd } })).stdout), {
      fingerprint: 'print of X',
    })
    t.match(await hsu('mesh key none', { local, world: { cwd } }), { code: 2, stderr: /cannot read .*none/ })
  })
})

t.test('hsu call', async (t) => {
  const endpoint = (unit: string, node: string, ready: boolean) => ({
    unit,
    node,
    ready,
    instance: `${unit}-0`,
    address: '',
    inFlight: 0,
  })
  const client: FakeClient = {
    getNode: async () => ({ ingress: '127.0.0.1:9470' }),
    listServices: async () => ({
      services: [
        {
          service: 'a.B',
          endpoints: [endpoint('one', 'x', false), endpoint('two', 'y', true), endpoint('three', 'x', true)],
        },
      ],
    }),
  }
  const calls: unknown[] = []
  const caller = (...args: unknown[]): AsyncIterable<unknown> => {
    calls.push(args)
    return streamOf({ message: 'hi' }, { n: 2 })
  }

  t.test('prints each answer as one line of JSON', async (t) => {
    const { stdout, opened, closed, code } = await hsu(['call', 'a.B/C', '{"x":1}'], { client, caller })
    t.equal(code, 0)
    t.equal(stdout, '{"message":"hi"}\n{"n":2}\n')
    t.equal((await hsu(['call', 'a.B/C', '-o', 'json'], { client, caller })).stdout, stdout)
    t.same(opened, ['/data/run/control.sock', '127.0.0.1:9470'])
    t.equal(closed, 2)
  })

  t.test('asks a ready unit that offers the service how the messages look', async (t) => {
    const last = async (line: string): Promise<unknown> => {
      await hsu(line, { client, caller })
      return calls.at(-1)
    }
    t.match(await last('call a.B/C'), ['a.B/C', '', { metadata: {} }, 'two'])
    t.match(await last('call /a.B/C {} --node x --timeout 2s --metadata k=v=w'), [
      '/a.B/C',
      '{}',
      { metadata: { k: 'v=w', 'hsu-node': 'x' }, timeoutMs: 2_000 },
      'three',
    ])
    t.match(await last('call a.B/C --unit one'), ['a.B/C', '', { metadata: { 'hsu-unit': 'one' } }, 'one'])
    t.match(await last('call a.B/C --unit one@x'), [
      'a.B/C',
      '',
      { metadata: { 'hsu-unit': 'one', 'hsu-node': 'x' } },
      'one',
    ])
    const elsewhere = await hsu('call a.B/C --node nowhere', { client, caller })
    t.match(elsewhere, { code: 4, stderr: /no unit on a node 'nowhere' offers 'a\.B'; offered on: / })
    const { asked } = await hsu('call a.B/C --node x', { client, caller })
    t.ok(
      asked.every(({ options }) => options.metadata === undefined),
      'the ingress of this host is used',
    )
  })

  t.test('reads the request from stdin, and the descriptors from a file', async (t) => {
    const stdin = (async function* () {
      yield Buffer.from('{"a"')
      yield Buffer.from(':1}')
    })()
    await hsu('call a.B/C -', { client, caller, world: { stdin } })
    t.match(calls.at(-1), ['a.B/C', '{"a":1}'])
    const cwd = t.testdir({ d: 'bytes' })
    await hsu('call no.Where/C --descriptor d', { client, caller, world: { cwd } })
    t.match(calls.at(-1), ['no.Where/C', '', {}, undefined])
    t.match(await hsu('call a.B/C --descriptor none', { client, caller, world: { cwd } }), { code: 2 })
  })

  t.test('an unknown service exits 4 and names what is offered', async (t) => {
    t.match(await hsu('call x.Y/Z', { client, caller }), { code: 4, stderr: /no unit offers 'x.Y'; offered: a.B/ })
  })

  t.test("a unit's own error exits 1 and shows its status", async (t) => {
    const failing = (error: HsuError) =>
      async function* (): AsyncGenerator {
        yield { n: 1 }
        throw error
      }
    const theirs = new HsuError('UNIT_NOT_FOUND', 'NOT_FOUND: no order 7', { details: { code: 'NOT_FOUND' } })
    t.match(await hsu('call a.B/C', { client, caller: failing(theirs) }), {
      code: 1,
      stdout: '{"n":1}\n',
      stderr: 'hsu: a.B/C failed: NOT_FOUND: no order 7\n',
    })
    const late = new HsuError('TIMED_OUT', 'no answer in time', { details: { code: 'DEADLINE_EXCEEDED' } })
    t.match(await hsu('call a.B/C', { client, caller: failing(late) }), { code: 124 })
    t.match(await hsu('call a.B/C', { client, caller: failing(new HsuError('NO_ENDPOINT', 'none ready')) }), {
      code: 3,
    })
  })

  t.test('aims reflection, and nothing else, at the unit', async (t) => {
    const seen: unknown[] = []
    const connection = {
      target: 'x',
      call: (path: string, _requests: unknown, options: unknown) => seen.push([path, options]),
    } as unknown as Connection
    const aimed = reflectingFrom(connection, 'two')
    aimed.call('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', streamOf(), {
      metadata: { 'hsu-node': 'x' },
    })
    aimed.call('/a.B/C', streamOf(), { metadata: { k: 'v' } })
    t.same(seen, [
      [
        '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
        { metadata: { 'hsu-unit': 'two', 'hsu-node': 'x' } },
      ],
      ['/a.B/C', { metadata: { k: 'v' } }],
    ])
  })
})

t.test('hsu doctor', async (t) => {
  const facts = (directory: string, more: Partial<HostFacts> = {}): HostFacts => ({
    nodeVersion: '20.19.0',
    platform: 'linux',
    env: process.env,
    paths: { dataDir: directory, runtimeDir: join(directory, 'not/there'), logDir: directory, controlSocket: '' },
    wallMs: 1_770_000_000_000,
    nodeRuns: true,
    ...more,
  })
  const resultOf = (checks: Awaited<ReturnType<typeof checkHost>>, name: string) =>
    checks.find((check) => check.name === name)?.result

  t.test('passes on a good host and leaves nothing behind', async (t) => {
    const directory = t.testdir({})
    const checks = await checkHost(facts(directory))
    t.same(
      checks.filter(({ result }) => result === 'failed'),
      [],
    )
    t.equal(resultOf(checks, 'Node.js'), 'ok')
    t.match(
      checks.find(({ name }) => name === 'runtime directory'),
      { result: 'ok', message: /can be made/ },
    )
    t.equal(spawnSync('ls', ['-A', directory], { encoding: 'utf8' }).stdout, '')
  })

  t.test('finds what is wrong', async (t) => {
    const directory = t.testdir({ file: '' })
    const bad = facts(directory, {
      nodeVersion: '20.18.3',
      env: { PATH: directory },
      paths: { ...facts(directory).paths, dataDir: join(directory, 'file') },
      wallMs: 5_000,
    })
    const checks = await checkHost(bad)
    t.equal(resultOf(checks, 'Node.js'), 'failed')
    t.equal(resultOf(checks, 'data directory'), 'failed')
    t.equal(resultOf(checks, 'sh'), 'failed')
    t.equal(resultOf(checks, 'time'), 'warning')
  })

  t.test('tests the host and the node; a failed test of either exits 1', async (t) => {
    const directory = t.testdir({})
    const resolvePaths = () => facts(directory).paths
    const diagnosing = (result: string): FakeClient => ({
      diagnose: async () => ({ checks: [{ name: 'mesh', result, message: '2 other nodes alive' }] }),
    })
    const world = { env: process.env, clock: new SimClock(1_770_000_000_000) }
    const good = await hsu('doctor -o json', {
      client: diagnosing('warning'),
      local: { resolvePaths },
      world: { ...world, env: { PATH: process.env['PATH'] } },
    })
    t.equal(good.code, 0)
    const checks = JSON.parse(good.stdout) as { name: string }[]
    t.match(checks.at(-1), { name: 'node: mesh', result: 'warning', message: '2 other nodes alive' })
    t.notOk(
      checks.some(({ name }) => name.startsWith('port')),
      'the node has them itself',
    )
    t.match(
      await hsu('doctor', { client: diagnosing('failed'), local: { resolvePaths }, world: { ...world, env: {} } }),
      { code: 1, stdout: /failed +node: mesh/ },
    )
    const alone = await hsu('doctor', {
      client: { diagnose: async () => notStarted() },
      local: { resolvePaths },
      world: { ...world, env: { PATH: process.env['PATH'] } },
    })
    t.match(alone, { code: 0, stdout: /port ingress[\s\S]*limit: memory +enforced/ }, 'limits without a node too')
    const far = await hsu('doctor --node b -o json', { client: diagnosing('ok') })
    t.same((JSON.parse(far.stdout) as unknown[]).length, 1)
  })
})
