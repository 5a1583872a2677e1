import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { EchoChat, EchoLoad } from '../support/echo-load.ts'
import { aloneConfig, ECHO_UNIT } from '../support/node-configs.ts'
import { faultsOfLog, screams, soleMissing, soleUnit } from '../support/sole.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly unit: string
  readonly instance: string
  readonly pid: number | null
  readonly state: string
  readonly ready: boolean
  readonly restarts: number
}

interface Upgraded {
  readonly pid: number
  readonly before: { readonly pid: number }
}

const LINUX = process.platform === 'linux' ? false : 'reads /proc'
const SWAPS = 3
const CALLS_BETWEEN = 200

async function untilReady(node: SpawnedNode): Promise<readonly Row[]> {
  return until('all units ready', async () => {
    const rows = await node.json<Row>('ps')
    return rows.length > 0 && rows.every(({ ready }) => ready) ? rows : undefined
  })
}

async function upgrade(node: SpawnedNode): Promise<Upgraded> {
  const { code, stdout, stderr } = await node.hsu('upgrade', '-o', 'json')
  if (code !== 0) throw new Error(`hsu upgrade ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as Upgraded
}

const addressOf = (node: SpawnedNode, door: 'ingress' | 'admin'): string =>
  new RegExp(`${door} (127\\.0\\.0\\.1:\\d+)`).exec(node.log)?.[1] ?? ''

/** Over a connection of its own. */
function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).once('error', reject)
  })
}

const instancesOf = (rows: readonly Row[]): readonly unknown[] =>
  rows.map(({ instance, pid, restarts }) => ({ instance, pid, restarts }))

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test(
  'a node is replaced under load: no call fails, no unit is restarted, no line is lost or doubled, no second copy runs',
  { skip: soleMissing() ?? false, timeout: 180_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const units = { echo: { ...ECHO_UNIT, replicas: 2 }, one: soleUnit(home, 'one'), two: soleUnit(home, 'two') }
    const each = node('each', { config: aloneConfig('each', units) })
    await each.start()
    const before = await untilReady(each)
    const address = addressOf(each, 'ingress')
    const chat = new EchoChat(address)
    t.teardown(() => chat.close())
    t.equal(await chat.say('before'), 'before')

    const load = new EchoLoad(address, 4)
    const pids = [each.pid]
    for (let swap = 0; swap < SWAPS; swap += 1) {
      const from = load.calls
      await until('some calls', () => load.calls >= from + CALLS_BETWEEN)
      const { pid, before: old } = await upgrade(each)
      t.equal(old.pid, pids.at(-1))
      t.equal(await statusOf(`http://${addressOf(each, 'admin')}/healthz`), 200, 'at the same address')
      pids.push(pid)
    }
    const from = load.calls
    await until('some calls', () => load.calls >= from + CALLS_BETWEEN)
    t.equal(await chat.say('after'), 'after', 'a call that was open all the time goes on, in the process it began in')
    const { calls, failures, longestMs } = await load.end()
    t.comment(`${calls} calls, ${failures.length} failed, the longest took ${longestMs.toFixed(0)} ms`)
    t.same(failures, [])

    chat.close()
    t.equal(await each.ended(), 0, 'the first process has ended once its last call had')
    await until('only the last process to be left', () => pids.filter(isAlive).length === 1)
    t.ok(isAlive(pids.at(-1) ?? 0))
    t.same(instancesOf(await each.json<Row>('ps')), instancesOf(before))
    for (const unit of ['one', 'two']) t.same(await faultsOfLog(each, unit), [])
    t.equal(screams(home), '')
    t.equal((await each.hsu('down')).code, 0)
    const sockets = readdirSync(join(each.directory, 'run')).filter((name) => name.endsWith('.sock'))
    t.same(sockets, [], 'no socket is left')
  },
)

t.test(
  'a configuration that is wrong refuses the upgrade, and the old process goes on',
  { timeout: 60_000 },
  async (t) => {
    const { node } = nodeHome(t)
    const each = node('each', { config: aloneConfig('each', { echo: ECHO_UNIT }) })
    await each.start()
    const before = await untilReady(each)
    each.configure({ ...aloneConfig('each', { echo: ECHO_UNIT }), nodes: {} })
    const { code, stderr } = await each.hsu('upgrade')
    t.equal(code, 2)
    t.match(stderr, /not upgraded.*nodes: unknown key; did you mean 'node'\?/s)
    t.same(instancesOf(await each.json<Row>('ps')), instancesOf(before))

    each.configure(aloneConfig('each', { echo: ECHO_UNIT }, { data_dir: join(each.directory, 'elsewhere') }))
    t.equal((await each.hsu('upgrade')).code, 0, 'HSU_DATA_DIR overrules the file')
    each.configure(aloneConfig('renamed', { echo: ECHO_UNIT }))
    await upgrade(each)
    t.match(await each.json('nodes'), [{ node: 'renamed' }], 'what a reload cannot do, an upgrade does')
    t.equal((await each.hsu('down')).code, 0)
  },
)

/** A unit that stays ready in the process that knows it, and does not become ready in one that is new. */
async function doubtful({ home, node }: ReturnType<typeof nodeHome>): Promise<{ each: SpawnedNode; heal: () => void }> {
  const flag = join(home, 'flag')
  writeFileSync(flag, '')
  const ready = { exec: ['test', '-e', flag], every: '1s', fail: 1_000 }
  const sole = { ...soleUnit(home, 'sole'), probes: { ready } }
  const each = node('each', { config: aloneConfig('each', { sole, echo: ECHO_UNIT }) })
  await each.start()
  await untilReady(each)
  rmSync(flag)
  return { each, heal: () => writeFileSync(flag, '') }
}

/** The process that is about to take over, once it has the units. */
async function newcomer(node: SpawnedNode, old: number): Promise<number> {
  return until('the new process to have the units', () => {
    const lock = join(node.directory, 'node.lock')
    const pid = existsSync(lock) ? (JSON.parse(readFileSync(lock, 'utf8')) as { pid: number }).pid : old
    if (pid === old) return undefined
    const adopted = readFileSync(join(node.directory, 'test-node.log'), 'utf8').includes(`"pid":${pid}`)
    return adopted || isAlive(pid) ? pid : undefined
  })
}

t.test(
  'a new process that is killed before it serves leaves everything to the old one',
  { skip: soleMissing() ?? LINUX, timeout: 120_000 },
  async (t) => {
    const space = nodeHome(t)
    const { each } = await doubtful(space)
    const before = await each.json<Row>('ps')
    const load = new EchoLoad(addressOf(each, 'ingress'), 2)
    const upgrading = each.hsu('upgrade')
    process.kill(await newcomer(each, each.pid), 'SIGKILL')
    const { code, stderr } = await upgrading
    t.equal(code, 1)
    t.match(stderr, /not upgraded, the old process goes on: the new process ended/)
    const from = load.calls
    await until('some calls', () => load.calls >= from + CALLS_BETWEEN)
    t.same((await load.end()).failures, [])
    t.ok(each.running)
    t.same(instancesOf(await each.json<Row>('ps')), instancesOf(before))
    t.match((await each.hsu('events', '-o', 'json')).stdout, /"node\.upgrade_failed"/)
    t.equal((await each.hsu('restart', 'sole')).code, 0, 'the old process has its units in hand again')
    t.equal(screams(space.home), '')
    t.equal(screams(space.home), '')
    t.equal((await each.hsu('down')).code, 0)
  },
)

t.test(
  'an old process that is killed while it is replaced leaves everything to the new one',
  { skip: soleMissing() ?? LINUX, timeout: 120_000 },
  async (t) => {
    const space = nodeHome(t)
    const { each, heal } = await doubtful(space)
    const before = await each.json<Row>('ps')
    const upgrading = each.hsu('upgrade')
    const pid = await newcomer(each, each.pid)
    await each.kill()
    t.not((await upgrading).code, 0)
    await until('the new process to answer', async () => (await each.hsu('ps')).code === 0)
    heal()
    t.same(instancesOf(await untilReady(each)), instancesOf(before))
    t.ok(isAlive(pid))
    t.same(await faultsOfLog(each, 'sole'), [])
    t.equal(screams(space.home), '')
    t.equal((await each.hsu('down')).code, 0)
  },
)

t.test(
  'a stream that lasts longer than the drain of an upgrade is cut, and its client is told',
  { timeout: 60_000 },
  async (t) => {
    const { node } = nodeHome(t)
    const each = node('each', { config: aloneConfig('each', { echo: ECHO_UNIT }) })
    await each.start()
    await untilReady(each)
    const address = addressOf(each, 'ingress')
    const chat = new EchoChat(address)
    t.teardown(() => chat.close())
    t.equal(await chat.say('before'), 'before')
    t.equal((await each.hsu('upgrade', '--drain', '100ms')).code, 0)
    t.equal(await each.ended(), 0, 'the old process does not wait for it')
    await t.rejects(chat.say('after'), { code: grpc.status.UNAVAILABLE })
    const next = new EchoChat(address)
    t.teardown(() => next.close())
    t.equal(await next.say('again'), 'again', 'the next one is for the new process')
    t.equal((await each.hsu('down')).code, 0)
  },
)

t.test('SIGUSR2 replaces the process too', { timeout: 60_000 }, async (t) => {
  const { node } = nodeHome(t)
  const each = node('each', { config: aloneConfig('each', { echo: ECHO_UNIT }) })
  await each.start()
  const before = await untilReady(each)
  each.signal('SIGUSR2')
  t.equal(await each.ended(), 0)
  t.same(instancesOf(await untilReady(each)), instancesOf(before))
  t.equal((await each.hsu('down')).code, 0)
})
