import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { EventShape, UnitShape } from '../../src/cli/shapes.ts'
import { createLoopback, lanMissing, type Loopback } from '../support/lan.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { childrenOf, isThere, rssBytesOf, treeBelow } from '../support/stranger.ts'
import {
  LOOPBACK,
  nginx,
  openTo,
  pidIn,
  postgres,
  redis,
  type ThirdParty,
  thirdPartiesMissing,
} from '../support/third-parties.ts'
import { until } from '../support/until.ts'

const skip = lanMissing() ?? thirdPartiesMissing() ?? false
const QUICKLY = { every: '200ms', timeout: '1s', fail: 2 }

/** A node alone with third parties in a namespace of their own. */
class Site {
  readonly home: string
  readonly #loopback: Loopback
  readonly #makeNode

  constructor(t: Test) {
    this.#loopback = createLoopback(t)
    const { home, node } = nodeHome(t)
    openTo(home)
    this.home = home
    this.#makeNode = node
  }

  /** Starts it as a distribution does, not knowing of any node; gives the pid of its root. */
  async daemon({ name, daemonize, pidFile }: ThirdParty): Promise<number> {
    const [file = '', ...args] = [...this.#loopback.prefix, ...daemonize]
    execFileSync(file, args, { stdio: 'ignore', cwd: '/', env: { PATH: process.env['PATH'] } })
    return until(`${name} to tell its pid`, () => pidIn(pidFile))
  }

  /** Starts a program in there that ends with the test. */
  spawn(argv: readonly string[]): void {
    const [file = '', ...args] = [...this.#loopback.prefix, ...argv]
    spawn(file, args, { stdio: 'ignore' })
  }

  node(units: object): SpawnedNode {
    const config = { version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } }, units }
    return this.#makeNode('n', { config, prefix: this.#loopback.prefix })
  }
}

async function rowOf(node: SpawnedNode, unit: string): Promise<UnitShape> {
  const [only] = await node.json<UnitShape>('ps', unit)
  if (only === undefined) throw new Error(`no unit ${unit}`)
  return only
}

async function eventsOf(node: SpawnedNode, unit: string, type: RegExp): Promise<EventShape[]> {
  const { stdout } = await node.hsu('events', unit, '-o', 'json')
  const events = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as EventShape)
  return events.filter((event) => type.test(event.type))
}

const untilReady = (node: SpawnedNode, unit: string): Promise<UnitShape> =>
  until(`${unit} to be ready`, async () => {
    const row = await rowOf(node, unit)
    return row.ready ? row : undefined
  })

async function untilGone(pids: readonly number[]): Promise<void> {
  for (const pid of pids) await until(`${pid} to be gone`, () => !isThere(pid))
}

/** Both within 5 % of the larger. */
const near = (a: number, b: number): boolean => Math.abs(a - b) <= 0.05 * Math.max(a, b)

for (const make of [postgres, nginx, redis]) {
  t.test(`${make.name} that runs already is found, watched and ended`, { skip, timeout: 120_000 }, async (t) => {
    const site = new Site(t)
    const party = make(site.home)
    const { port } = party
    const checks = { port: { tcp: `${LOOPBACK}:${port}`, ...QUICKLY }, serves: { ...party.check, ...QUICKLY } }
    const found = { kind: 'unmanaged', find: party.find, checks }
    const node = site.node({
      theirs: { ...found, limits: { memory: '1MiB', cpu: 64, spike: '1ms', sustained: '1ms' } },
      ours: { ...found, checks: {}, allow: { signal: true } },
    })
    const pid = await site.daemon(party)
    await node.start()

    await t.test('by name, pid file, port and pid alike, it is its root', async (t) => {
      const args = party.find.args.flatMap((arg) => ['--arg', arg])
      const ways = [
        ['--name', party.find.name, ...args],
        ['--pid-file', party.pidFile],
        ['--port', `tcp/${port}`],
        ['--pid', String(pid)],
      ]
      for (const way of ways) {
        t.match(await node.hsu('attach', 'it', ...way), { code: 0 }, way.join(' '))
        t.match(await rowOf(node, 'it'), { kind: 'unmanaged', state: 'up', pid }, way.join(' '))
        t.match(await node.hsu('detach', 'it'), { code: 0 })
      }
    })

    await t.test('its use is that of its tree', async (t) => {
      t.ok(treeBelow(pid).length >= party.processes, `${treeBelow(pid).length} processes`)
      await until('what is told to be what /proc says', async () =>
        near((await rowOf(node, 'theirs')).rssBytes, rssBytesOf(...treeBelow(pid))),
      )
      // Workers of a server come and go: both are read anew until they agree.
      await until('as many processes to be found as /proc has', async () => {
        const [found] = await node.json<{ processes: number }>('find', '--pid-file', party.pidFile)
        return found?.processes === treeBelow(pid).length
      })
    })

    await t.test('it is healthy while it serves, and not while it stands still', async (t) => {
      const state = (wanted: string) =>
        until(wanted, async () => (await rowOf(node, 'theirs')).health?.state === wanted || undefined)
      await state('healthy')
      const all = treeBelow(pid)
      for (const each of all.filter(isThere)) process.kill(each, 'SIGSTOP')
      await state('unhealthy')
      for (const each of all.filter(isThere)) process.kill(each, 'SIGCONT')
      await state('healthy')
      t.match(await rowOf(node, 'theirs'), { pid, ready: true, restarts: 0 })
    })

    await t.test('a threshold that it exceeds is told once', async (t) => {
      const exceeded = await until('the crossing', async () => {
        const events = await eventsOf(node, 'theirs', /limit_exceeded/)
        return events.length > 0 && events
      })
      t.match(exceeded, [{ details: { resource: 'memory' } }])
      t.equal(exceeded.length, 1)
    })

    await t.test('it runs on when the node is stopped, and when it is killed', async (t) => {
      t.equal((await node.hsu('down')).code, 0)
      await node.ended()
      t.ok(isThere(pid), 'after a stop')
      await node.start()
      t.match(await untilReady(node, 'theirs'), { pid })
      await node.kill()
      t.ok(isThere(pid), 'after a kill')
      await node.start()
      t.match(await untilReady(node, 'theirs'), { pid })
    })

    await t.test('it is ended only where that is allowed, and then with all its processes', async (t) => {
      t.match(await node.hsu('signal', 'TERM', 'theirs'), { code: 1, stderr: /NOT_PERMITTED|may not be signalled/ })
      t.ok(isThere(pid))
      const all = treeBelow(pid)
      t.equal((await node.hsu('signal', 'TERM', 'ours')).code, 0)
      await untilGone(all)
      await until('its loss to be told', async () => (await rowOf(node, 'theirs')).state === 'absent' || undefined)
      t.match(await rowOf(node, 'theirs'), { pid: null, ready: false })
    })
  })

  t.test(`${make.name} that adopt describes starts as a unit`, { skip, timeout: 120_000 }, async (t) => {
    const site = new Site(t)
    const party = make(site.home)
    const node = site.node({ it: { kind: 'unmanaged', find: { pid_file: party.pidFile } } })
    const pid = await site.daemon(party)
    await node.start()
    const file = join(site.home, 'adopted.yaml')
    const adopted = await node.hsu('adopt', 'it', '--out', file)
    t.equal(adopted.code, 0, adopted.stderr)
    const all = treeBelow(pid)
    await node.kill()
    process.kill(pid, 'SIGTERM')
    await untilGone(all)

    await node.start('-f', file)
    const row = await untilReady(node, 'it')
    t.match(row, { kind: 'managed', state: 'up', restarts: 0, ports: { [`tcp${party.port}`]: party.port } })
    await until(`it to be who listens on ${party.port}`, async () => {
      const [listener] = await node.json<{ pid: number }>('find', '--port', `tcp/${party.port}`).catch(() => [])
      return listener?.pid === row.pid || undefined
    })
    t.match(await node.hsu('stop', 'it'), { code: 0 })
  })

  t.test(`${make.name} as a unit of a node`, { skip, timeout: 120_000 }, async (t) => {
    const site = new Site(t)
    const party = make(site.home)
    const { name, port } = party
    const restart = { policy: 'on-failure', backoff: '100ms..1s' }
    const unit = { ...party.unit, ports: { it: port }, probes: { ready: { ...party.check, ...QUICKLY } }, restart }
    const node = site.node({ it: unit })
    await node.start()
    const first = await untilReady(node, 'it')
    const root = first.pid ?? 0
    t.ok(treeBelow(root).length >= party.processes)

    await t.test('a worker that crashes is the business of its root', async (t) => {
      const [worker] = childrenOf(root)
      if (worker === undefined) {
        t.comment(`${name} has no workers`)
        return
      }
      process.kill(worker, 'SIGKILL')
      await until('the worker to be replaced', () => {
        const workers = childrenOf(root)
        return !workers.includes(worker) && workers.length + 1 >= party.processes
      })
      t.match(await untilReady(node, 'it'), { pid: root, restarts: 0 })
    })

    await t.test('a root that crashes is started again, and none of the old processes is left', async (t) => {
      const all = treeBelow(root)
      process.kill(root, 'SIGKILL')
      const again = await until('another root', async () => {
        const row = await rowOf(node, 'it')
        return row.pid !== null && row.pid !== root && row.ready && row
      })
      t.equal(again.restarts, 1)
      t.match(await eventsOf(node, 'it', /unit[.]failed|unit[.]exited/), [{ reason: /SIGKILL/ }])
      await untilGone(all)
    })

    await t.test('it outlives a node that is killed, and the next one has it again', async (t) => {
      const before = await rowOf(node, 'it')
      await node.kill()
      t.ok(isThere(before.pid ?? 0))
      await node.start()
      t.match(await untilReady(node, 'it'), { pid: before.pid, instance: before.instance })
    })

    await t.test('restart gives another process that serves', async (t) => {
      const before = await rowOf(node, 'it')
      t.match(await node.hsu('restart', 'it'), { code: 0 })
      const after = await untilReady(node, 'it')
      t.not(after.pid, before.pid)
    })

    await t.test('stop ends all of it in good order, also while somebody is connected', async (t) => {
      const pid = (await rowOf(node, 'it')).pid ?? 0
      const { client } = party
      if (client !== undefined) {
        const before = childrenOf(pid).length
        site.spawn(client)
        await until('the client to be served', () => childrenOf(pid).length > before)
      }
      const all = treeBelow(pid)
      t.match(await node.hsu('stop', 'it'), { code: 0 })
      t.same(all.filter(isThere), [])
      t.match(await rowOf(node, 'it'), { state: 'down', exit: { code: 0 } })
    })
  })
}
