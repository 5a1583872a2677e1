import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer, type AddressInfo, connect as dial } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { aloneConfig, ECHO_UNIT, LISTEN, SLEEPER } from '../support/node-configs.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface UnitRow {
  readonly unit: string
  readonly replica: number
  readonly state: string
  readonly ready: boolean
  readonly pid: number | null
  readonly restarts: number
  readonly exit: { code?: number; signal?: string } | null
  readonly reason: string
}

async function unitOf(node: SpawnedNode, name: string): Promise<UnitRow> {
  const row = (await node.json<UnitRow>('ps')).find(({ unit }) => unit === name)
  if (row === undefined) throw new Error(`ps does not show ${name}`)
  return row
}

t.test('a wrong configuration ends with 2 and names every fault with its line', async (t) => {
  const { node } = nodeHome(t)
  const broken = node('broken', {
    config: {
      version: 1,
      nodes: {},
      units: {
        a: { run: ['true'], depends_on: ['b'], stop: { grace: '3 d' } },
        b: { run: ['true'], depends_on: ['a'], prots: { http: 80 } },
      },
    },
  })
  for (const command of [['config', 'validate'], ['up']]) {
    const { code, stdout, stderr } = await broken.hsu(...command, '-f', broken.configFile)
    t.equal(code, 2, command.join(' '))
    t.equal(stdout, '')
    t.match(stderr, /hsu\.yaml:\d+:\d+: nodes: unknown key; did you mean 'node'\?/)
    t.match(stderr, /hsu\.yaml:\d+:\d+: units\.b\.prots: unknown key; did you mean 'ports'\?/)
    t.match(stderr, /hsu\.yaml:\d+:\d+: units\.a\.stop\.grace: .*'3 d'/)
    t.match(stderr, /a -> b -> a|b -> a -> b/)
  }
  t.equal((await broken.hsu('up', '-f', '/nowhere/hsu.yaml')).code, 2)
})

t.test('the life of units on one node', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const single = node('single', {
    config: aloneConfig('single', {
      sleeper: SLEEPER,
      missing: { run: ['/nowhere/program'] },
      crasher: { run: ['sh', '-c', 'exit 3'], restart: { policy: 'no' } },
      job: { run: ['sh', '-c', 'echo done'], restart: { policy: 'on-failure' } },
      echo: { ...ECHO_UNIT, replicas: 2 },
      legacy: { kind: 'unmanaged', find: { name: 'no-such-program' } },
    }),
  })
  await single.start()

  t.test('a missing executable fails that unit alone, and says so', async (t) => {
    const missing = await until('the unit to fail', async () => {
      const row = await unitOf(single, 'missing')
      return row.reason === '' ? undefined : row
    })
    t.match(missing.reason, /\/nowhere\/program/)
    t.equal(missing.pid, null)
    t.equal((await single.hsu('wait', 'sleeper', '--for', 'up')).code, 0)
    t.equal((await single.hsu('wait', 'echo', '--for', 'ready')).code, 0)
  })

  t.test('how a unit ended is told', async (t) => {
    t.equal((await single.hsu('wait', 'job', '--for', 'completed')).code, 0)
    t.same((await unitOf(single, 'job')).exit, { code: 0 })
    const crasher = await until('the crash', async () => {
      const row = await unitOf(single, 'crasher')
      return row.exit === null ? undefined : row
    })
    t.same(crasher.exit, { code: 3 })
    t.match((await single.hsu('logs', 'job')).stdout, /done/)
  })

  t.test('a killed unit comes back with a new pid; stop and start do what they say', async (t) => {
    const before = await unitOf(single, 'sleeper')
    process.kill(before.pid ?? 0, 'SIGKILL')
    const after = await until('the restart', async () => {
      const row = await unitOf(single, 'sleeper')
      return row.state === 'up' && row.pid !== before.pid ? row : undefined
    })
    t.equal(after.restarts, before.restarts + 1)

    t.equal((await single.hsu('stop', 'sleeper')).code, 0)
    t.match(await unitOf(single, 'sleeper'), { state: 'down', pid: null })
    t.equal((await single.hsu('stop', 'sleeper')).code, 0, 'stopping twice is no error')
    t.equal((await single.hsu('start', 'sleeper')).code, 0)
    t.equal((await single.hsu('wait', 'sleeper', '--for', 'up')).code, 0)
    const restarts = await Promise.all(Array.from({ length: 10 }, () => single.hsu('restart', 'sleeper')))
    t.same(
      restarts.map(({ code }) => code).filter((code) => code !== 0),
      [],
    )
    t.equal((await single.hsu('wait', 'sleeper', '--for', 'up')).code, 0)
    t.equal(processesOf(home).filter((pid) => isSleeper(pid)).length, 1, 'one process after ten restarts at once')
  })

  t.test('calls reach the unit, unknown ones are answered with what is known', async (t) => {
    const { stdout, code } = await single.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { message: 'hi', node: 'single' })
    const unknown = await single.hsu('call', 'nope.v1.NopeService/Do', '{}')
    t.not(unknown.code, 0)
    t.match(unknown.stderr, /echo\.v1\.EchoService/)
  })

  t.test('what does not exist is said with the right exit code', async (t) => {
    t.equal((await single.hsu('stop', 'nobody')).code, 4)
    t.equal((await single.hsu('ps', '--node', 'nowhere')).code, 4)
    t.equal((await single.hsu('frobnicate')).code, 2)
    t.equal((await single.hsu('scale', 'sleeper=100000')).code, 2)
    t.equal((await single.hsu('logs', 'nobody')).code, 4)
    t.equal((await single.hsu('call', 'echo.v1.EchoService/Echo', '{}', '--node', 'nowhere')).code, 4)
    t.equal((await single.hsu('wait', 'legacy', '--for', 'up', '--timeout', '300ms')).code, 124)
    t.not((await single.hsu('stop', 'legacy')).code, 0, 'an unmanaged unit is not ours to stop')
  })

  t.test('the data directory is private and belongs to one node', async (t) => {
    t.equal(statSync(join(single.directory, 'run')).mode & 0o777, 0o700)
    t.equal(statSync(join(single.directory, 'run', 'control.sock')).mode & 0o777, 0o600)
    t.equal(statSync(join(single.directory, 'identity.json')).mode & 0o777, 0o600)
    const second = await single.hsu('up', '-f', single.configFile)
    t.equal(second.code, 1)
    t.match(second.stderr, new RegExp(`node 'single' \\(pid ${single.pid}\\)`))
  })

  t.test('hsu down stops everything and leaves nothing running', async (t) => {
    t.equal((await single.hsu('down')).code, 0)
    t.equal(await single.ended(), 0)
    t.same(processesOf(home), [])
    t.notOk(existsSync(join(single.directory, 'node.lock')))
    t.equal((await single.hsu('ps')).code, 3)
  })
})

t.test('^C at any moment leaves nothing running', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const config = aloneConfig('brief', { sleeper: SLEEPER, echo: ECHO_UNIT })
  // From before the first line of the node to well after its units run: as soon as the first trace of each is there.
  const moments: ((each: SpawnedNode) => boolean)[] = [
    () => true,
    (each) => existsSync(join(each.directory, 'node.lock')),
    (each) => existsSync(join(each.directory, 'run', 'api.sock')),
    (each) => existsSync(join(each.directory, 'units')) && readdirSync(join(each.directory, 'units')).length > 0,
    (each) => existsSync(join(each.directory, 'run', 'control.sock')),
  ]
  for (const [index, moment] of moments.entries()) {
    const brief = node(`brief-${index}`, { config })
    const starting = brief.start().catch(() => undefined)
    await until('the moment', () => moment(brief))
    brief.signal('SIGINT')
    await brief.ended()
    await starting
    t.same(processesOf(home), [], `moment ${index}`)
  }
})

t.test('units outlive a killed node and are adopted by the next one', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const units = { sleeper: SLEEPER, echo: ECHO_UNIT }
  const first = node('adopting', { config: aloneConfig('adopting', units) })
  await first.start()
  for (const unit of ['sleeper', 'echo']) t.equal((await first.hsu('wait', unit, '--for', 'ready')).code, 0)
  const before = await Promise.all(['sleeper', 'echo'].map((unit) => unitOf(first, unit)))
  await first.kill()
  for (const { pid } of before) t.doesNotThrow(() => process.kill(pid ?? 0, 0), 'still runs without its node')

  await first.start()
  t.equal((await first.hsu('wait', 'echo', '--for', 'ready')).code, 0)
  const after = await Promise.all(['sleeper', 'echo'].map((unit) => unitOf(first, unit)))
  t.same(
    after.map(({ pid }) => pid),
    before.map(({ pid }) => pid),
    'the same processes',
  )
  t.same(
    after.map(({ restarts }) => restarts),
    [0, 0],
  )
  t.match(JSON.parse((await first.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')).stdout), {
    message: 'hi',
  })
  await first.hsu('down')
  await first.ended()
  t.same(processesOf(home), [])
})

t.test('a busy port is replaced by a free one, and the node says so', async (t) => {
  const { node } = nodeHome(t)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const busy = node('busy', { config: aloneConfig('busy', {}, { listen: { ...LISTEN, ingress: taken } }) })
  await busy.start()
  t.ok(busy.log.includes(taken), 'names the port it could not have')
  t.match((await busy.hsu('doctor')).stdout, /warning.*ingress/)
  await busy.hsu('down')
})

t.test('garbage closes its own connection and disturbs nothing', { timeout: 60_000 }, async (t) => {
  const { node } = nodeHome(t)
  const calm = node('calm', { config: aloneConfig('calm', { echo: ECHO_UNIT }) })
  await calm.start()
  t.equal((await calm.hsu('wait', 'echo', '--for', 'ready')).code, 0)
  const ingress = /ingress 127\.0\.0\.1:(\d+)/.exec(calm.log)?.[1]
  for (const where of [
    { port: Number(ingress), host: '127.0.0.1' },
    { path: join(calm.directory, 'run', 'control.sock') },
  ]) {
    await new Promise<void>((resolve) => {
      const socket = dial(where as never)
      socket.on('error', () => undefined)
      socket.resume()
      socket.on('close', () => resolve())
      socket.end(Buffer.alloc(4_096, 'not http/2 at all '))
    })
  }
  t.match(JSON.parse((await calm.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')).stdout), {
    message: 'hi',
  })
  await calm.hsu('down')
})

function isSleeper(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0]?.endsWith('sleep') === true
  } catch {
    return false
  }
}
