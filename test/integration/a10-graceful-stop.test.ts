import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fixture } from '../support/paths.ts'
import { nodeHome, processesOf } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Stopped {
  readonly unit: string
  readonly state: string
  readonly pid: number | null
  readonly exit: { readonly code?: number; readonly signal?: string } | null
  readonly tookMs: number
}

const GRACE_MS = 1_000

t.test('A10: hsu stop --all ends each unit in its own way and in order, and leaves no descendant', async (t) => {
  const { home, node } = nodeHome(t)
  const pids = join(home, 'helpers')
  const daemon = join(home, 'daemon')
  const asked = join(home, 'asked')
  const grace = { grace: `${GRACE_MS}ms`, drain: '0ms' }
  const edge = node('edge', {
    config: {
      version: 1,
      node: { name: 'edge', listen: { ingress: '127.0.0.1:0' } },
      units: {
        db: { run: [fixture('exit-slowly.sh')], stop: { grace: '10s', drain: '0ms' } },
        api: {
          run: [fixture('exit-slowly.sh')],

          depends_on: ['db'],
          stop: { grace: '10s', drain: '0ms' },
        },
        stubborn: { run: [fixture('ignore-term.sh')], stop: grace },
        rusty: { run: [fixture('exit-on-int.sh')], stop: { ...grace, signal: 'INT' } },
        parent: { run: [fixture('fork-child.sh'), pids, '0'], stop: grace },
        daemons: { run: [fixture('daemonize.sh'), daemon], stop: grace },
        told: {
          run: [fixture('exit-on-int.sh')],

          stop: {
            grace: '10s',
            drain: '0ms',
            command: ['sh', '-c', `echo "$HSU_PID" >'${asked}'; kill -INT "$HSU_PID"`],
          },
        },
      },
    },
  })
  await edge.start()
  const units = ['db', 'api', 'stubborn', 'rusty', 'parent', 'daemons', 'told']
  await until('all to have set up their signals', async () => {
    const { stdout } = await edge.hsu('logs', '-g', '^ready$', '-o', 'json')
    return (
      new Set(
        stdout
          .trim()
          .split('\n')
          .map((line) => (line === '' ? '' : (JSON.parse(line) as { unit: string }).unit)),
      ).size === units.length
    )
  })
  const toldPid = (await edge.json<{ unit: string; pid: number }>('ps')).find(({ unit }) => unit === 'told')?.pid
  await until('the daemon', () => existsSync(daemon))

  const stopped = await edge.json<Stopped>('stop', '--all')
  const of = (unit: string): Stopped => stopped.find((each) => each.unit === unit) as Stopped
  t.same(
    stopped.map(({ unit, state, pid }) => [unit, state, pid]),
    [...units].sort().map((unit) => [unit, 'down', null]),
  )
  t.same(
    units.map((unit) => of(unit).exit),
    [{ code: 0 }, { code: 0 }, { signal: 'SIGKILL' }, { code: 0 }, { signal: 'SIGTERM' }, { code: 0 }, { code: 0 }],
  )
  t.ok(of('stubborn').tookMs >= GRACE_MS, 'the grace is given')
  t.equal(readFileSync(asked, 'utf8').trim(), String(toldPid))
  t.same(
    processesOf(home).filter((pid) => pid !== edge.pid),
    [],
    'by the marker in their environment, nothing of the units is left',
  )

  const told = (await edge.hsu('events', '-o', 'json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { unit: string; type: string })
    .map(({ unit, type }) => `${unit} ${type}`)
  const at = (what: string): number => told.indexOf(what)
  t.ok(at('db unit.stopping') > at('api unit.down'), 'a unit is stopped when those that need it have ended')
  const others = units.filter((unit) => unit !== 'db')
  t.ok(
    others.every((unit) => at(`${unit} unit.stopping`) < at('api unit.down')),
    'the others are stopped side by side',
  )
  t.equal((await edge.hsu('down')).code, 0)
})
