import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nodeHome } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Unit {
  readonly unit: string
  readonly pid: number
  readonly restarts: number
  readonly state: string
}

t.test('A17: a changed file restarts the unit that is made of it, and no other', async (t) => {
  const { home, node } = nodeHome(t)
  const work = join(home, 'work')
  mkdirSync(join(work, 'src'), { recursive: true })
  writeFileSync(join(work, 'src/main.py'), '1')
  writeFileSync(join(work, 'app.conf'), '1')
  const sleep = ['sleep', '600']
  const hup = `trap 'echo reloaded' HUP; while :; do sleep 0.1; done`
  const edge = node('edge', {
    config: {
      version: 1,
      node: { name: 'edge', listen: { ingress: '127.0.0.1:0' } },
      units: {
        dev: { run: sleep, cwd: work, watch: { paths: ['src/**/*.py'], ignore: ['**/*.tmp.py'], debounce: '50ms' } },
        conf: {
          run: ['sh', '-c', hup],
          cwd: work,
          watch: { paths: ['app.conf'], on_change: 'reload', debounce: '50ms' },
        },
        other: { run: sleep, cwd: work },
      },
    },
  })
  await edge.start()
  const unitsBy = async (): Promise<Record<string, Unit>> =>
    Object.fromEntries((await edge.json<Unit>('ps')).map((unit) => [unit.unit, unit]))
  const ups = async () => {
    const units = await unitsBy()
    return Object.values(units).every(({ state }) => state === 'up') && units
  }
  const before = await until('all are up', ups)
  const restarted = (count: number) =>
    until(`restart ${count}`, async () => {
      // A first write may come before the files are watched: whatever is written later is seen.
      if (count === 1) writeFileSync(join(work, 'src/main.py'), String(Math.random()))
      const { dev } = await unitsBy()
      return dev !== undefined && dev.restarts >= count && dev.state === 'up' && dev
    })
  const first = await restarted(1)
  t.not(first.pid, before['dev']?.pid)
  const why = (await edge.hsu('why', 'dev')).stdout
  t.match(why, /src\/main\.py changed/)

  const settled = (await unitsBy())['dev']?.restarts ?? 0
  writeFileSync(join(work, 'src/ignored.tmp.py'), 'x')
  mkdirSync(join(work, 'src/new'))
  writeFileSync(join(work, '.saved'), 'new file')
  renameSync(join(work, '.saved'), join(work, 'src/new/saved.py'))
  await until('a file moved in restarts it', async () => ((await unitsBy())['dev']?.restarts ?? 0) > settled)
  const { stdout } = await edge.hsu('events', '-o', 'json')
  t.notMatch(stdout, /ignored\.tmp/)
  t.match(stdout, /src\/new\/saved\.py changed/)

  await until('the reload arrives', async () => {
    writeFileSync(join(work, 'app.conf'), String(Math.random()))
    return /reloaded/.test((await edge.hsu('logs', 'conf')).stdout)
  })
  const after = await unitsBy()
  t.equal(after['conf']?.pid, before['conf']?.pid)
  t.equal(after['other']?.pid, before['other']?.pid)
  t.equal((await edge.hsu('down')).code, 0)
})
