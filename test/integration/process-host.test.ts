import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { within } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemHost } from '../../src/process/index.ts'
import { isShimOf } from '../../src/process/posix-shim.ts'
import { processHostContract } from '../contract/process-host.ts'
import { fixture } from '../support/paths.ts'
import { workspace } from '../support/supervised.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

const PATH = process.env['PATH'] ?? '/usr/bin:/bin'

t.test('the host of this system keeps the contract', async (t) => {
  await processHostContract(t, (t) => {
    const directory = workspace(t)
    let count = 0
    const request =
      (...argv: string[]) =>
      () => ({
        unit: 'sample',
        directory: join(directory, `instance ${(count += 1)}`),
        argv,
        cwd: directory,
        env: { PATH, HSU_INSTANCE_DIR: join(directory, `instance ${count}`) },
        user: undefined,
      })
    const requests = {
      runs: request('sleep', '60'),
      fails: request('sh', '-c', 'exit 3'),
      missing: request('./absent'),
      forks: request('sh', '-c', 'sleep 60 & sleep 60; :'),
      daemonizes:
        process.platform === 'linux' ? request(fixture('daemonize.sh'), join(directory, 'daemon.pid')) : undefined,
    }
    return { host: systemHost(), requests }
  })
})

t.test('whoever waits for leave to begin ends with the node that would give it', async (t) => {
  const directory = workspace(t)
  const host = systemHost()
  const ran = join(directory, 'ran')
  const instance = join(directory, 'one')
  const request = { unit: 'x', argv: ['sh', '-c', `echo > '${ran}'`], cwd: '/', env: { PATH }, user: undefined }
  const after = until('the shim', async () => (await host.table.list()).some(({ argv }) => isShimOf(argv, instance)))
  await throwsReason(t, 'SPAWN_FAILED', () =>
    host.spawn({ ...request, directory: instance, after: after.then(() => Promise.reject(new Error('no record'))) }),
  )
  await until('it to be gone', async () => !(await host.table.list()).some(({ argv }) => isShimOf(argv, instance)))
  t.notOk(existsSync(ran))
})

t.test('stdout and stderr go to files of their own, binary safe, stdin is empty', async (t) => {
  const directory = workspace(t)
  const host = systemHost()
  const instance = join(directory, 'one')
  const script = 'cat; printf "a\\000b"; printf oops >&2; kill -9 $$'
  const child = await host.spawn({
    unit: 'out',
    directory: instance,
    argv: ['sh', '-c', script],
    cwd: '/',
    env: { PATH },
    user: undefined,
  })
  t.same(await child.exited, { signal: 'SIGKILL' })
  t.equal(readFileSync(join(instance, 'stdout'), 'latin1'), 'a\0b')
  t.equal(readFileSync(join(instance, 'stderr'), 'utf8'), 'oops', 'the shim adds no word of its own')
})

t.test('signals that the shim catches are not ignored in the program', async (t) => {
  const directory = workspace(t)
  const host = systemHost()
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const) {
    const request = { unit: 'sample', argv: ['sleep', '60'], cwd: '/', env: { PATH }, user: undefined }
    const child = await host.spawn({ ...request, directory: join(directory, signal) })
    // Until then it is a shell, and a shell may ignore some.
    await until('the program itself runs', async () => (await host.table.get(child.main.pid))?.name === 'sleep')
    await host.signal(child.main, signal)
    t.same(await child.exited, { signal })
  }
  const argv = ['grep', '-E', '^Sig(Ign|Blk):', '/proc/self/status']
  const directoryOfLast = join(directory, 'last')
  const child = await host.spawn({
    unit: 'sample',
    directory: directoryOfLast,
    argv,
    cwd: '/',
    env: { PATH },
    user: undefined,
  })
  await child.exited
  t.match(readFileSync(join(directoryOfLast, 'stdout'), 'utf8'), /^SigBlk:\s+0+\nSigIgn:\s+0+\n$/, 'SIGPIPE neither')
})

t.test('the end of a program whose shim was killed is still noticed', async (t) => {
  const directory = workspace(t)
  const host = systemHost()
  const request = { unit: 'sample', argv: ['sleep', '60'], cwd: '/', env: { PATH }, user: undefined }
  const child = await host.spawn({ ...request, directory: join(directory, 'one') })
  await host.signal(child.leader, 'SIGKILL')
  await until('the shim is gone', async () => (await host.table.get(child.leader.pid)) === undefined)
  t.ok(await host.signalGroup(child, 'SIGTERM'), 'the group is still known as ours by the program')
  t.equal(await child.exited, undefined, 'but nobody saw how it ended')
})

t.test(
  'a program runs as another user when the node is root',
  { skip: process.getuid?.() === 0 ? false : 'needs root' },
  async (t) => {
    const directory = workspace(t)
    const host = systemHost()
    const instance = join(directory, 'one')
    const request = {
      unit: 'sample',
      directory: instance,
      cwd: '/',
      env: { PATH },
      argv: ['sh', '-c', 'id -u; id -G; echo $HOME $USER; echo again >>/dev/stdout'],
    }
    const child = await host.spawn({ ...request, user: 'nobody' })
    t.same(await child.exited, { code: 0 })
    const [uid = '', groups, home, again] = readFileSync(join(instance, 'stdout'), 'utf8').split('\n')
    t.ok(Number(uid) > 0)
    t.notMatch(groups, /\b0\b/, 'no group of root is left')
    t.match(home, /nobody$/)
    t.equal(again, 'again', 'it may open its own output')
    const error = await throwsReason(t, 'SPAWN_FAILED', () => host.spawn({ ...request, user: 'no-such-user' }))
    t.match(error?.message, /no such user/)
  },
)

t.test('a port that somebody listens on, on whatever address, is not free', async (t) => {
  const host = systemHost()
  for (const address of ['127.0.0.1', '0.0.0.0']) {
    const server = createServer().listen(0, address)
    await once(server, 'listening')
    t.notOk(await host.isPortFree((server.address() as AddressInfo).port), address)
    server.close()
  }
})

t.test('a helper program gives its output, is ended by abort and by its timeout with all it started', async (t) => {
  const host = systemHost()
  const never = new AbortController().signal
  t.same(await host.run(['echo', 'two words'], {}, never), { exit: { code: 0 }, stdout: 'two words\n' })
  t.match(await host.run(['sh', '-c', 'sleep 60 & sleep 60'], { timeoutMs: 50 }, never), {
    exit: { signal: 'SIGKILL' },
  })
  await throwsReason(t, 'SPAWN_FAILED', () => host.run(['/no/such/program'], {}, never))
  const abort = new AbortController()
  const running = host.run(['sleep', '60'], {}, abort.signal)
  abort.abort(new Error('enough'))
  await t.rejects(running, { message: 'enough' })
})

t.test('a helper program that leaves others behind is over when it ends, and so are they', async (t) => {
  const host = systemHost()
  const never = new AbortController().signal
  const script = 'sleep 20 & echo $!; sleep 20 >/dev/null & echo $!'
  const done = await within(systemClock, 5_000, host.run(['sh', '-c', script], {}, never))
  if (typeof done === 'symbol') throw new Error('it waits for what holds the output')
  t.same(done.exit, { code: 0 })
  const left = done.stdout.trim().split('\n').map(Number)
  t.equal(left.length, 2)
  for (const pid of left) await until(`${pid} is gone`, async () => (await host.table.get(pid))?.state !== 'S')
})

t.test('a helper program that may not be killed at its timeout is waited for', async (t) => {
  const host = systemHost()
  const kill = t.capture(process, 'kill', () => {
    throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' })
  })
  const done = await host.run(['sleep', '0.2'], { timeoutMs: 20 }, new AbortController().signal)
  t.same(done.exit, { code: 0 })
  t.ok(kill().length > 0)
})
