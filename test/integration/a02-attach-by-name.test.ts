import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import type { EventShape, UnitShape } from '../../src/cli/shapes.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { childrenOf, cpuMsOf, isThere, rssBytesOf, startedAtMs, stranger, treeBelow } from '../support/stranger.ts'
import { until } from '../support/until.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }

interface ProcessRow {
  readonly pid: number
  readonly rssBytes: number
  readonly treeRssBytes: number
  readonly processes: number
}

/** Both within 5 % of the larger. */
function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= 0.05 * Math.max(a, b)
}

for (const name of ['postgres', 'mysqld']) {
  t.test(
    `${name} is attached by its name, measured, and ended by a person`,
    { ...onLinux, timeout: 120_000 },
    async (t) => {
      const { home, node: makeNode } = nodeHome(t)
      const node = makeNode('n', { config: { version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } } } })
      const data = join(home, 'data')
      mkdirSync(data)
      symlinkSync('/bin/sh', join(home, name))
      await node.start()
      const server = await stranger(t, [join(home, name), fixture('postmaster.sh'), data])
      const row = async (): Promise<UnitShape> => {
        const [only] = await node.json<UnitShape>('ps', 'db')
        if (only === undefined) throw new Error('no unit db')
        return only
      }

      // The argument keeps this test from meeting a real server of that name.
      const find = ['--name', name, '--arg', data]
      t.match(await node.hsu('attach', 'db', ...find, '--allow-signal'), { code: 0, stdout: /db-0-\d+@n is up/ })

      await t.test('the root of the tree is the unit, not one of its workers', async (t) => {
        t.match(await row(), { kind: 'unmanaged', state: 'up', ready: true, pid: server.pid })
        t.match((await row()).origin, /^attached by .+ from the command line$/)
        t.match((await node.hsu('ps')).stdout, /db .*attached/)
      })

      await t.test('memory is what /proc says, of the process and of the tree', async (t) => {
        // Its workers start helpers all the time, so the two can only be compared when none comes or goes between.
        await until('the tree to be measured', async () =>
          near((await row()).rssBytes, rssBytesOf(...treeBelow(server.pid))),
        )
        const [found] = await node.json<ProcessRow>('find', ...find)
        t.ok(near(found?.rssBytes ?? 0, rssBytesOf(server.pid)), `${found?.rssBytes}`)
        t.ok((found?.processes ?? 0) >= 4, 'with its three workers')
        t.ok((found?.treeRssBytes ?? 0) > (found?.rssBytes ?? 0))
      })

      await t.test('the start is the real one', async (t) => {
        const { startedAt } = await row()
        t.ok(Math.abs(Date.parse(startedAt ?? '') - startedAtMs(server.pid)) < 2_000, `${startedAt}`)
      })

      await t.test('a worker that spins is seen, and that it stopped', async (t) => {
        const [spinner = 0] = childrenOf(server.pid).sort((a, b) => a - b)
        writeFileSync(join(data, 'spin'), '')
        await until(
          'the load to be that of the worker',
          async () => {
            // What the worker gets depends on the machine, so that is what it is compared with.
            const before = { cpuMs: cpuMsOf(spinner), atMs: systemClock.nowMs() }
            const { cpu } = await row()
            const got = (cpuMsOf(spinner) - before.cpuMs) / (systemClock.nowMs() - before.atMs)
            return cpu > 0.1 && cpu > 0.8 * got
          },
          60_000,
        )
        rmSync(join(data, 'spin'))
        await until('the load to be gone', async () => (await row()).cpu < 0.05, 60_000)
        t.pass('it rose, and fell')
      })

      await t.test('TERM ends it and its workers, and the log tells who asked', async (t) => {
        const workers = childrenOf(server.pid)
        t.equal((await node.hsu('signal', 'TERM', 'db')).code, 0)
        await server.ended
        for (const pid of workers) await until(`${pid} is gone`, () => !isThere(pid))
        const lost = await until('the loss to be told', async () => {
          const events = await eventsOf('db')
          return events.find(({ type }) => type === 'unit.lost')
        })
        const asked = (await eventsOf('db')).find(({ type }) => type === 'unit.requested')
        t.match(asked, { reason: /^signal TERM asked for by /, actor: /from the command line/ })
        t.equal(lost.causedBy, asked?.id)
        t.match((await node.hsu('why', 'db')).stdout, /signal TERM/)
      })

      async function eventsOf(unit: string): Promise<EventShape[]> {
        const { stdout } = await node.hsu('events', unit, '-o', 'json')
        return stdout
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as EventShape)
      }
    },
  )
}
