import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fixture } from '../support/paths.ts'
import { processesIn, supervise, workspace } from '../support/supervised.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { until } from '../support/until.ts'

const never = new AbortController().signal
const QUICK = { backoff: '0ms..1s', jitter: '0%', give_up: '100/1m' } as const

/** A process whose parent has ended may stay as a zombie where the first process of a container reaps nobody. */
const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function lines(supervisor: Awaited<ReturnType<typeof supervise>>['supervisor'], unit: string): Promise<string[]> {
  const query = {
    units: [unit],
    follow: false,
    tail: undefined,
    sinceMs: undefined,
    stream: undefined,
    grep: undefined,
  }
  const found: string[] = []
  for await (const { line } of supervisor.logs(query, never)) found.push(Buffer.from(line).toString())
  return found
}

t.test('argv, environment and working directory arrive exactly as configured', async (t) => {
  const directory = workspace(t)
  const cwd = join(directory, 'work dir')
  mkdirSync(cwd)
  const report = join(directory, 'report.json')
  const odd = [
    '',
    'two words',
    `"double" 'single'`,
    'back\\slash',
    '$HOME `id` $(id) ; | & * ?',
    'übergröße 日本 🚀',
    'new\nline',
    '-n',
  ]
  const { supervisor, until } = await supervise(t, directory, {
    environmentOf: ({ replica }) => ({ HSU_NODE: `n${replica}` }),
  })
  const env = {
    PLAIN: 'a b',
    QUOTES: `"'\\`,
    'spring.port': '{port.http}',
    UNICODE: '日本',
    WHO: '{unit.name}/{replica}@{node.name}',
  }
  const unit = unitSpec(
    'show',
    {
      run: [process.execPath, fixture('show-launch.mjs'), report, ...odd, '{port.http}'],
      cwd,
      env,
      ports: { http: 'auto' },
    },
    directory,
  )
  await supervisor.apply([unit])
  const status = await until('up', ({ state }) => state === 'up' && existsSync(report), 'show')
  const seen = JSON.parse(readFileSync(report, 'utf8')) as {
    args: string[]
    env: Record<string, string>
    cwd: string
    pid: number
  }
  const port = String(status.ports['http'])
  t.same(seen.args, [...odd, port])
  t.equal(seen.cwd, cwd)
  t.equal(seen.pid, status.pid, 'the pid is the program itself, not a shell')
  const inherited = Object.fromEntries(
    ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SHELL'].flatMap((name) =>
      process.env[name] === undefined ? [] : [[name, process.env[name]]],
    ),
  ) as Record<string, string>
  // Where sh is bash it adds SHLVL on its way; the test runner hooks into whatever this process spawns.
  for (const name of Object.keys(seen.env)) {
    if (/^(SHLVL|NODE_OPTIONS|_TAPJS_.*)$/.test(name)) Reflect.deleteProperty(seen.env, name)
  }
  t.strictSame(seen.env, {
    ...inherited,
    ...env,
    'spring.port': port,
    WHO: 'show/0@node-a',
    PYTHONUNBUFFERED: '1',
    HSU_UNIT: 'show',
    HSU_INSTANCE: status.instance,
    HSU_REPLICA: '0',
    HSU_PORT_HTTP: port,
    HSU_INSTANCE_DIR: join(directory, 'run', 'show', '0', status.instance),
    HSU_NODE: 'n0',
    PORT: port,
  })
})

t.test('a unit that ignores SIGTERM is killed after its grace', async (t) => {
  const directory = workspace(t)
  const { supervisor, until, status } = await supervise(t, directory)
  await supervisor.apply([unitSpec('stubborn', { run: [fixture('ignore-term.sh')], stop: { grace: '300ms' } })])
  const { pid } = await until('ready', ({ ready }) => ready, 'stubborn')
  await saysReady(supervisor, 'stubborn')
  const startMs = Date.now()
  await supervisor.stopUnit('stubborn', never)
  const tookMs = Date.now() - startMs
  t.ok(tookMs >= 300 && tookMs < 2_000, `${tookMs} ms`)
  t.notOk(isAlive(pid as number))
  t.match(status('stubborn'), { state: 'down', pid: undefined, exit: { signal: 'SIGKILL' } })
  t.same(processesIn(directory), [])
})

async function saysReady(supervisor: Awaited<ReturnType<typeof supervise>>['supervisor'], unit: string): Promise<void> {
  await until(`${unit} says ready`, async () => (await lines(supervisor, unit)).includes('ready'))
}

for (const [how, code] of [
  ['stopped', 0],
  ['crashed', 3],
] as const) {
  t.test(`a unit that is ${how} leaves no descendant behind`, async (t) => {
    const directory = workspace(t)
    const pids = join(directory, 'pids')
    const { supervisor, until, status } = await supervise(t, directory)
    const restart = { policy: 'no' } as const
    await supervisor.apply([
      unitSpec('parent', { run: [fixture('fork-child.sh'), pids, String(code)], restart, stop: { grace: '200ms' } }),
    ])
    await saysReady(supervisor, 'parent')
    const helpers = readFileSync(pids, 'utf8').trim().split('\n').map(Number)
    t.ok(helpers.length > 0 && helpers.every(isAlive))
    if (how === 'stopped') await supervisor.stopUnit('parent', never)
    else {
      writeFileSync(`${pids}.go`, '')
      await until('failed', ({ state }) => state === 'failed', 'parent')
      t.match(status('parent').exit, { code })
    }
    t.notOk(isAlive(helpers[0] as number), 'the one in its group')
    t.same(processesIn(directory), [], 'and the one in a session of its own')
  })
}

t.test('a crash is seen and restarted at once, and its code is told', async (t) => {
  const directory = workspace(t)
  const code = join(directory, 'code')
  const { supervisor, until, events } = await supervise(t, directory)
  await supervisor.apply([unitSpec('crasher', { run: [fixture('exit-when.sh'), code, 'once'], restart: QUICK })])
  const { pid } = await until('ready', ({ ready }) => ready, 'crasher')
  writeFileSync(code, '7')
  const again = await until(
    'restarted',
    ({ restarts, pid: now }) => restarts === 1 && now !== undefined && now !== pid,
    'crasher',
  )
  t.notOk(isAlive(pid as number))
  t.match(again, { state: 'up', ready: true })
  const exited = events.find(({ type }) => type === 'unit.exited')
  t.match(exited, { details: { code: '7' } })
  const startMs = Date.now()
  process.kill(again.pid as number, 'SIGKILL')
  await until('restarted again', ({ restarts, pid: now }) => restarts === 2 && now !== undefined, 'crasher')
  const tookMs = Date.now() - startMs
  t.comment(`killed to restarted: ${tookMs} ms`)
  t.ok(tookMs < 1_000, `${tookMs} ms`)
  t.match(events.filter(({ type }) => type === 'unit.exited')[1], { details: { signal: 'SIGKILL' } })
})

t.test('a program that cannot be run fails its unit alone, and says why', async (t) => {
  const directory = workspace(t)
  writeFileSync(join(directory, 'data.txt'), 'no program')
  mkdirSync(join(directory, 'folder'))
  writeFileSync(join(directory, 'script'), '#!/no/such/interpreter\n', { mode: 0o755 })
  const { supervisor, until, status } = await supervise(t, directory)
  const cases: [name: string, run: string[], reason: RegExp][] = [
    ['absent', ['./api'], /cannot run \.\/api of unit 'absent': no such file: .*api/],
    ['nowhere', ['no-such-program'], /not found in the PATH/],
    ['text', ['./data.txt'], /may not be executed/],
    ['folder', ['./folder'], /is a directory/],
    ['script', ['./script'], /its interpreter \/no\/such\/interpreter does not exist/],
    ['template', ['/bin/true', '{port.grpc}'], /unknown template \{port\.grpc\}/],
  ]
  const good = unitSpec('good', { run: ['/bin/sleep', '60'] })
  await supervisor.apply([...cases.map(([name, run]) => unitSpec(name, { run }, directory)), good])
  await until('ready', ({ ready }) => ready, 'good')
  for (const [name, , reason] of cases) {
    await until('failed', ({ state }) => state === 'failed', name)
    t.match(status(name).reason, reason)
  }
  const error = await throwsReason(t, 'SPAWN_FAILED', () => supervisor.startUnit('absent', never))
  t.match(error?.message, /no such file/)
  writeFileSync(join(directory, 'api'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 })
  await until('starts once the file is there', ({ ready }) => ready, 'absent')
})

t.test('the next supervisor adopts what runs and learns how the others ended', async (t) => {
  const directory = workspace(t)
  const [stays, dies, fails] = ['stays', 'dies', 'fails'].map((name) => join(directory, `${name}.code`)) as [
    string,
    string,
    string,
  ]
  const specs = [
    unitSpec('stays', { run: [fixture('exit-when.sh'), stays], ports: { http: 'auto' } }),
    unitSpec('done', { run: [fixture('exit-when.sh'), dies], restart: { policy: 'on-failure' } }),
    unitSpec('fails', { run: [fixture('exit-when.sh'), fails, 'once'], restart: QUICK }),
    unitSpec('gone', { run: ['/bin/sleep', '60'] }),
  ]
  const first = await supervise(t, directory)
  await first.supervisor.apply(specs)
  for (const { name } of specs) await first.until('ready', ({ ready }) => ready, name)
  const before = specs.map(({ name }) => first.status(name))
  await first.supervisor.abandon()
  for (const { pid } of before) t.ok(isAlive(pid as number), 'units outlive their node')

  writeFileSync(dies, '0')
  writeFileSync(fails, '9')
  await until('two have ended', () => !isAlive(before[1]?.pid as number) && !isAlive(before[2]?.pid as number))

  const second = await supervise(t, directory)
  await second.supervisor.apply(specs.slice(0, 3))
  t.match(second.status('stays'), {
    pid: before[0]?.pid,
    instance: before[0]?.instance,
    ports: before[0]?.ports,
    restarts: 0,
  })
  await second.until('ready', ({ ready }) => ready, 'stays')
  t.match(second.status('done'), { state: 'completed', exit: { code: 0 }, pid: undefined })
  const restarted = await second.until('ready', ({ ready }) => ready, 'fails')
  t.match(restarted, { restarts: 1 })
  t.not(restarted.pid, before[2]?.pid)
  const types = second.events.filter(({ unit }) => unit === 'fails').map(({ type, details }) => [type, details['code']])
  t.same(types.slice(0, 3), [
    ['unit.exited', '9'],
    ['unit.backoff', undefined],
    ['unit.started', undefined],
  ])
  t.notOk(isAlive(before[3]?.pid as number), 'what is no longer configured is stopped')

  await t.test('and learns the end of an adopted one at once, by its code', async (t) => {
    writeFileSync(stays, '4')
    await second.until('ended', ({ state }) => state === 'backoff', 'stays')
    t.match(
      second.events.find(({ unit, type }) => unit === 'stays' && type === 'unit.exited'),
      { details: { code: '4' } },
    )
  })

  await t.test('and no line of output is lost or doubled', async (t) => {
    const said = await lines(second.supervisor, 'done')
    t.same(said, [`up ${before[1]?.pid}`, `down ${before[1]?.pid}`])
    const all = await until('the first line of the new process', async () => {
      const now = await lines(second.supervisor, 'fails')
      return now.length >= 3 && now
    })
    t.same(all.slice(0, 3), [`up ${before[2]?.pid}`, `down ${before[2]?.pid}`, `up ${restarted.pid}`])
  })

  await second.supervisor.stop()
  t.same(processesIn(directory), [], 'after a stop nothing is left')
})

t.test('an adopted unit is stopped like an own one', async (t: Test) => {
  const directory = workspace(t)
  const specs = [
    unitSpec('api', { run: ['/bin/sleep', '60'] }),
    unitSpec('idle', { run: ['/bin/sleep', '60'], activation: 'manual' }),
  ]
  const first = await supervise(t, directory)
  await first.supervisor.apply(specs)
  const { pid } = await first.until('ready', ({ ready }) => ready, 'api')
  await first.supervisor.abandon()
  const second = await supervise(t, directory)
  await second.supervisor.apply(specs)
  t.equal(second.status('idle').state, 'down')
  await second.supervisor.stopUnit('api', never)
  t.notOk(isAlive(pid as number))
  t.match(second.status('api'), { state: 'down', exit: { signal: 'SIGTERM' } })
})
